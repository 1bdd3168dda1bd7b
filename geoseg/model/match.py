"""Whether a scene is what a bundle was made for. What a scene says of itself is found out by `raster`."""

from collections.abc import Sequence

from geoseg.errors import BundleError
from geoseg.model.spec import BundleSpec, Conversion
from geoseg.pipeline import Level

Encoding = tuple[float, float]
"""(scale, offset) a scene states for its values: reflectance = raw * scale + offset."""


def infer_level(level: Level | None, *, dtype: str, band_count: int) -> tuple[Level | None, str | None]:
    """(level, what to tell the user): three bands of uint8 without a level are a display image.

    Eight bits cannot hold reflectance usefully, so this is no guess; nothing else is inferred.
    """
    if level is None and dtype == "uint8" and band_count == 3:
        return "display8", "three uint8 bands and no stated level: taken as a display image (display8)"
    return level, None


def check_scene(
    spec: BundleSpec,
    *,
    scene_name: str,
    band_names: Sequence[str],
    level: Level | None,
    dtype: str,
    gsd_m: float,
    encoding: Encoding | None = None,
) -> Conversion | None:
    """The conversion a scene needs in order to enter a bundle; None: it enters as it is.

    Args:
        spec: the bundle.
        scene_name: for messages.
        band_names: common names the scene's bands were matched to.
        level: what the scene says, or the user did.
        dtype: numpy name of the scene's dtype.
        gsd_m: ground metres per pixel at the scene's centre.
        encoding: the scale and offset the scene states; None or (1, 0): none stated, the bundle's hold.

    Raises:
        BundleError: the scene is not the bundle's, with the remedy.
    """
    _check_bands(spec, scene_name, band_names)
    if not spec.gsd_min_m <= gsd_m <= spec.gsd_max_m:
        raise BundleError(
            f"{scene_name} has pixels of {gsd_m:.3g} m on the ground; bundle {spec.name!r} accepts "
            f"{spec.gsd_min_m:g} to {spec.gsd_max_m:g} m: resample it to {spec.gsd_m:g} m or choose another bundle"
        )
    known, _ = infer_level(level, dtype=dtype, band_count=len(band_names))
    return _find_conversion(spec, scene_name, known, dtype, encoding if encoding != (1.0, 0.0) else None)


def _check_bands(spec: BundleSpec, scene_name: str, band_names: Sequence[str]) -> None:
    missing = [name for name in spec.band_names if name not in band_names]
    if missing:
        raise BundleError(
            f"{scene_name} has no {', '.join(missing)} (known: {', '.join(band_names) or 'none'}); bundle "
            f"{spec.name!r} needs {', '.join(spec.band_names)}: name them with --bands, "
            f"e.g. --bands {','.join(f'{name}={k}' for k, name in enumerate(spec.band_names, 1))}"
        )


def _find_conversion(
    spec: BundleSpec, scene_name: str, level: Level | None, dtype: str, encoding: Encoding | None
) -> Conversion | None:
    level_fits = spec.level in ("any", level)
    dtype_fits = spec.dtype in ("any", dtype)
    if level is None and spec.level != "any":
        raise BundleError(
            f"{scene_name} does not say what its {dtype} values mean; bundle {spec.name!r} "
            f"takes {spec.level}: say what its values mean with --radiometry toa|surface|display8"
        )
    if level_fits and dtype_fits and (encoding is None or spec.level == "any"):
        return None
    for one in spec.conversions:
        if (one.from_level, one.from_dtype) == (level, dtype):
            return one if encoding is None else _recode(one, encoding)
    if level_fits and level is not None and encoding is not None:
        return _into_bundle(spec, scene_name, level, dtype, encoding)
    raise BundleError(f"{scene_name} holds {dtype} {level or 'unstated'} values; {_accepts(spec)}")


def _accepts(spec: BundleSpec) -> str:
    pairs = [f"{spec.dtype} {spec.level}"] + [f"{one.from_dtype} {one.from_level}" for one in spec.conversions]
    return (
        f"bundle {spec.name!r} accepts {' or '.join(dict.fromkeys(pairs))}: give such a scene, choose another "
        "bundle, or correct --radiometry if it was set wrongly"
    )


def _recode(conversion: Conversion, encoding: Encoding) -> Conversion:
    """The same conversion for values that are encoded with another scale and offset."""
    scale, offset = encoding
    gain = conversion.scale / conversion.from_scale
    update = {
        "from_scale": scale,
        "from_offset": offset,
        "scale": gain * scale,
        "offset": conversion.offset + gain * (offset - conversion.from_offset),
    }
    return conversion.model_copy(update=update)


def _into_bundle(spec: BundleSpec, scene_name: str, level: Level, dtype: str, encoding: Encoding) -> Conversion | None:
    """From the encoding a scene states into the one the bundle's bands are scaled for."""
    codes = {(band.scale, band.offset) for band in spec.bands}
    if codes == {encoding}:
        return None
    if len(codes) > 1 or 0.0 in {code[0] for code in codes}:
        raise BundleError(
            f"{scene_name} states scale {encoding[0]:g}, offset {encoding[1]:g}; bundle {spec.name!r} scales "
            "its bands differently from each other: rewrite the scene with the bundle's scale"
        )
    (scale, offset) = next(iter(codes))
    return Conversion.model_validate(
        {
            "from_level": level,
            "from_dtype": dtype,
            "from_scale": encoding[0],
            "from_offset": encoding[1],
            "scale": encoding[0] / scale,
            "offset": (encoding[1] - offset) / scale,
            "description": "the scale and offset the scene states, into those of the bundle",
        }
    )
