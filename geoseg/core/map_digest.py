"""What tells a class map from every other: its labels and the place they lie at; not the file that holds them."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pyproj import CRS
from pyproj.exceptions import CRSError


class PixelDigest:
    """The sha256 of shape and class ids, row by row: the same for every file that decodes to this map."""

    def __init__(self, shape: Sequence[int]) -> None:
        height, width = (int(one) for one in shape)
        self._hash = hashlib.sha256(f"{(height, width)}".encode())

    def add(self, labels: npt.NDArray[np.uint8]) -> None:
        """The next full-width rows."""
        self._hash.update(labels.tobytes())

    @property
    def sha256(self) -> str:
        """Of all rows so far."""
        return self._hash.hexdigest()


def digest_map(pixels_sha256: str, *, crs: str, transform: Sequence[float]) -> str:
    """The sha256 of a map and its place: maps of equal pixels elsewhere have another one.

    Args:
        pixels_sha256: of `PixelDigest`.
        crs: in any words; ways to write one CRS that has a code are the same here.
        transform: a, b, c, d, e, f; taken to 12 digits, so that its last bit is no matter.

    Raises:
        pyproj.exceptions.CRSError: `crs` is none.
    """
    # a zero has one sign here
    place = " ".join(f"{float(one) + 0.0:.12g}" for one in transform[:6])
    return hashlib.sha256("\n".join((pixels_sha256, _one_name(crs), place)).encode()).hexdigest()


def same_crs(one: str, other: str) -> bool:
    """Whether coordinates mean the same place, whatever the order of their axes and the words for it."""
    if one == other:
        return True
    try:
        return bool(CRS.from_user_input(one).equals(CRS.from_user_input(other), ignore_axis_order=True))
    except CRSError:
        return False


def _one_name(crs: str) -> str:
    """The code of an authority, else WKT 2."""
    known = CRS.from_user_input(crs)
    authority = known.to_authority()
    return ":".join(authority) if authority else str(known.to_wkt("WKT2_2019"))
