"""How the CRF sees an image of any bands: up to three tones of 0 to 255, by a projection fixed in the bundle."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.errors import BundleError
from geoseg.model.spec import Appearance, BundleSpec

TONES: Final = 3
_SPREAD: Final = 5.0
"""Standard deviations of the first principal component that the 256 tones are stretched over."""


def find_appearance(spec: BundleSpec) -> Appearance:
    """The projection of a bundle; a display image of up to three bands is seen as it is.

    Raises:
        BundleError: the bundle has none, and its bands are no display image.
    """
    if spec.appearance is not None:
        return spec.appearance
    if spec.level == "display8" and spec.dtype == "uint8" and len(spec.bands) <= TONES:
        weights = np.diag([band.std for band in spec.bands])
        return _appearance(weights, np.array([band.mean for band in spec.bands]))
    raise BundleError(
        f"bundle {spec.name!r} does not say how its bands are to be seen (appearance), which the CRF needs: "
        "use --set refinement.method=none, or a bundle that was trained with it"
    )


def principal_appearance(covariance: npt.NDArray[np.float64]) -> Appearance:
    """The first three principal components of normalised pixels (mean 0), stretched alike to tones about 127.5.

    Args:
        covariance: (bands, bands) of normalised pixels.
    """
    values, vectors = np.linalg.eigh(covariance)
    chosen = vectors[:, ::-1][:, :TONES].T
    chosen = chosen * np.sign(chosen[np.arange(len(chosen)), np.abs(chosen).argmax(axis=1)])[:, None]
    gain = 255 / (_SPREAD * np.sqrt(max(float(values[-1]), 1e-12)))
    return _appearance(chosen * gain, np.full(len(chosen), 127.5))


def to_tones(pixels: npt.NDArray[np.float32], appearance: Appearance) -> npt.NDArray[np.float32]:
    """Tones (up to 3, h, w), 0 … 255, of normalised pixels (bands, h, w)."""
    weights = np.asarray(appearance.weights, dtype=np.float32)
    offsets = np.asarray(appearance.offsets, dtype=np.float32)
    mixed = np.einsum("kb,bhw->khw", weights, pixels)  # no BLAS: the order of its sums depends on threads
    tones: npt.NDArray[np.float32] = np.clip(mixed + offsets[:, None, None], 0, 255)
    return tones


def _appearance(weights: npt.NDArray[Any], offsets: npt.NDArray[Any]) -> Appearance:
    return Appearance(
        weights=tuple(tuple(float(one) for one in row) for row in weights),
        offsets=tuple(float(one) for one in offsets),
    )
