"""Model bundles on disk: find, check, load and pack. Schema: `spec`; networks: `registry`; no torch."""

import difflib
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.core.legend import Legend
from geoseg.errors import BundleError
from geoseg.model.match import check_scene, infer_level
from geoseg.model.spec import (
    BandSpec,
    BundleSpec,
    ClassSpec,
    Conversion,
    TrainingData,
    dump_spec,
    parse_spec,
    to_legend,
    validate_spec,
)

__all__ = [
    "BandSpec",
    "BundleSpec",
    "ClassSpec",
    "Conversion",
    "ModelBundle",
    "TrainingData",
    "check_scene",
    "infer_level",
    "load_bundle",
    "pack_bundle",
    "shipped_bundles",
]

SPEC_FILE: Final = "bundle.yaml"
WEIGHTS_FILE: Final = "model.safetensors"
_SPEC_BYTES_MAX: Final = 1 << 20
_NO_SHA: Final = "0" * 64
_FLOAT16_MAX: Final = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBundle:
    """A bundle that was found whole. Pickles to a few kB: the list of training inputs stays in its file."""

    path: str
    """Its folder, absolute."""
    spec: BundleSpec = field(compare=False)
    """What bundle.yaml says (covered by sha256, so not compared)."""
    sha256: str
    """Of the bytes of bundle.yaml followed by those of model.safetensors."""

    @property
    def legend(self) -> Legend:
        """The classes, in the order of the output channels."""
        return to_legend(self.spec)

    @property
    def weights(self) -> Path:
        """The safetensors file."""
        return Path(self.path) / WEIGHTS_FILE

    def __reduce__(self) -> tuple[Any, ...]:
        data = self.spec.training_data.model_copy(update={"inputs": {}, "procedural_seeds": ()})
        return _rebuild, (self.path, self.spec.model_copy(update={"training_data": data}), self.sha256)


def shipped_bundles() -> tuple[str, ...]:
    """Names of the bundles inside the package, sorted."""
    root = resources.files("geoseg") / "bundles"
    if not root.is_dir():
        return ()
    return tuple(sorted(one.name for one in root.iterdir() if (one / SPEC_FILE).is_file()))


def load_bundle(name_or_path: str) -> ModelBundle:
    """The bundle shipped under a name, else the one in a folder, after its weights' sha256 was found right.

    Read once per process, as long as its files stay as they are.

    Raises:
        BundleError: not found (nearest name said), damaged, or bundle.yaml is wrong (key and value said).
    """
    folder = _find(name_or_path)
    return _read(folder, _state(folder / SPEC_FILE), _state(folder / WEIGHTS_FILE))


@lru_cache(maxsize=2)
def _read(folder: Path, spec_state: tuple[int, ...], weights_state: tuple[int, ...]) -> ModelBundle:
    """The bundle in a folder; the states tell that its files are still those that were read."""
    spec_bytes = _read_spec_bytes(folder / SPEC_FILE)
    try:
        text = spec_bytes.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(f"{folder / SPEC_FILE} is not UTF-8 text: get the bundle again") from error
    spec = parse_spec(text, place=str(folder / SPEC_FILE))
    weights_sha, bundle_sha = _hash_weights(folder / WEIGHTS_FILE, spec_bytes)
    if weights_sha != spec.weights_sha256:
        raise BundleError(
            f"{folder / WEIGHTS_FILE} is damaged: sha256 {weights_sha[:12]}…, {SPEC_FILE} says "
            f"{spec.weights_sha256[:12]}…: get the bundle again"
        )
    return ModelBundle(path=str(folder), spec=spec, sha256=bundle_sha)


def pack_bundle(folder: Path, fields: Mapping[str, Any], state: Mapping[str, Any]) -> ModelBundle:
    """Write a bundle and load it back.

    Args:
        folder: made if missing; files there are replaced, weights first, so that a crash leaves a bundle
            which is refused as damaged, never an old contract with new weights.
        fields: keys of `BundleSpec`, without weights_sha256.
        state: state dict of arrays or tensors. Floats of two and more axes are stored as float16 where they
            fit; vectors (biases, batch-norm statistics: few, of any range) as float32; integers as they are.

    Raises:
        BundleError: a wrong field, or weights that are not finite.
    """
    from safetensors.numpy import save

    place = f"bundle {fields.get('name', '?')!r}"
    validate_spec({**fields, "weights_sha256": _NO_SHA}, place=place)
    weights = save({name: _stored(name, value) for name, value in state.items()})
    sha = hashlib.sha256(weights).hexdigest()
    spec = validate_spec({**fields, "weights_sha256": sha}, place=place)
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / WEIGHTS_FILE, weights)
    _replace(folder / SPEC_FILE, dump_spec(spec).encode("utf-8"))
    return load_bundle(str(folder.resolve()))


def _rebuild(path: str, spec: BundleSpec, sha256: str) -> ModelBundle:
    return ModelBundle(path=path, spec=spec, sha256=sha256)


def _state(file: Path) -> tuple[int, ...]:
    """What changes when a file is written or replaced; nothing of one that is not there, which fails when read."""
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _find(name_or_path: str) -> Path:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name_or_path):
        shipped = resources.files("geoseg") / "bundles" / name_or_path
        if (shipped / SPEC_FILE).is_file():
            return Path(str(shipped)).resolve()
    folder = Path(name_or_path)
    if (folder / SPEC_FILE).is_file():
        return folder.resolve()
    if folder.is_dir():
        raise BundleError(f"{folder} is not a bundle: it has no {SPEC_FILE}")
    names = shipped_bundles()
    near = difflib.get_close_matches(name_or_path, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"shipped: {', '.join(names) or 'none'}"
    raise BundleError(f"no bundle {name_or_path!r}: {hint} (or give the path of a folder with a {SPEC_FILE})")


def _read_spec_bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            content = stream.read(_SPEC_BYTES_MAX + 1)
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}") from error
    if len(content) > _SPEC_BYTES_MAX:
        raise BundleError(f"{file} is larger than {_SPEC_BYTES_MAX} bytes: it is no bundle.yaml")
    return content


def _hash_weights(file: Path, spec_bytes: bytes) -> tuple[str, str]:
    """(sha256 of the weights, sha256 of bundle.yaml + weights)."""
    weights, both = hashlib.sha256(), hashlib.sha256(spec_bytes)
    try:
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                weights.update(chunk)
                both.update(chunk)
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}: get the bundle again") from error
    return weights.hexdigest(), both.hexdigest()


def _stored(name: str, value: Any) -> npt.NDArray[Any]:
    """A tensor or array as it is stored (see `pack_bundle`)."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if value.is_floating_point() else value).numpy()
    array = np.array(value, order="C")
    if not np.issubdtype(array.dtype, np.floating):
        return array
    if not np.isfinite(array).all():
        raise BundleError(f"weights {name} hold NaN or infinity: train again with a lower learning rate")
    fits = array.ndim > 1 and float(np.abs(array).max(initial=0.0)) <= _FLOAT16_MAX
    return array.astype(np.float16 if fits else np.float32)


def _replace(file: Path, content: bytes) -> None:
    """Write beside, flush to disk, move into place."""
    beside = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
