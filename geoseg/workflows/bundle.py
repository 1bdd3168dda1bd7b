"""Bundles as files of their own: looked at, checked, packed from a user's weights, exported for other programs."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.core.procedural import MIN_SIDE_PX, make_procedural_scene
from geoseg.errors import InputError, ProductError
from geoseg.model.bundle import ModelBundle, load_bundle, pack_bundle
from geoseg.model.export import INPUT, OUTPUT, Exported, Format, check_formats, describe_contract, export_network
from geoseg.model.network import load_network, prepare_network
from geoseg.model.unpacked import read_unpacked
from geoseg.outcome import ProductFile
from geoseg.report.model_item import ModelFacts, make_model_item
from geoseg.workflows.output_file import move
from geoseg.workflows.product import file_sha256, uninterrupted
from geoseg.workflows.progress import Progress, Silent

RECORD: Final = "export.json"
ITEM: Final = "item.json"
_TILE: Final = 512
_EXAMPLES: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What was exported."""

    folder: Path
    parts: tuple[Exported, ...]

    def paths(self) -> list[Path]:
        """Every file, the models first."""
        names = [name for part in self.parts for name in part.files]
        return [self.folder / name for name in (*names, ITEM, RECORD)]


def describe_bundle(name_or_path: str) -> dict[str, Any]:
    """What `bundle.yaml` says, with the place, the checksum and the size of the network.

    Raises:
        BundleError: not found, or damaged.
    """
    bundle = load_bundle(name_or_path)
    spec = bundle.spec.model_dump(mode="json")
    inputs = spec["training_data"].pop("inputs")
    spec["training_data"]["files"] = len(inputs)
    return {
        "path": bundle.path,
        "sha256": bundle.sha256,
        "bytes": bundle.weights.stat().st_size,
        "parameters": _parameters(bundle),
        **spec,
    }


def verify_bundle(name_or_path: str) -> ModelBundle:
    """The bundle, after its weights went into its network and a tile through that.

    Raises:
        BundleError: not found, damaged, weights of another network, or outputs that are no probabilities.
    """
    bundle = load_bundle(name_or_path)
    prepare_network(bundle, precision="fp32", device="cpu")
    return bundle


def pack(file: Path, weights: Path, out: Path) -> ModelBundle:
    """Makes a bundle of a state dict and a bundle.yaml without weights_sha256.

    Divisor, min_size and margins that the file leaves out are those of the network.

    Raises:
        BundleError: a wrong key or value, or weights of another network; nothing is left then.
        ProductError: `out` is there already.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ProductError(f"{out} already exists: choose another folder for the bundle")
    fields, state = read_unpacked(file, weights)
    with _whole_folder(out) as folder:
        verify_bundle(pack_bundle(folder, fields, state).path)
    return load_bundle(str(out.resolve()))


def export_bundle(
    name_or_path: str,
    out: Path,
    *,
    formats: Sequence[Format],
    tile: int | None = None,
    batch: int = 1,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Export:
    """Writes the bundle's network for other programs, with a STAC item, after what is read back was found equal.

    Args:
        name_or_path: of the bundle.
        out: a folder, made; all of it is there in the end, or nothing.
        formats: which.
        tile: height and width of the pixels it takes; None: 512, or the next size the network takes.
        batch: tiles that it takes at once.
        overwrite: an earlier export may be replaced.
        progress: told of each format.

    Raises:
        BundleError: no such bundle, a network that cannot be exported, or one that computes something else then.
        SettingsError: a size that the network does not take.
        ProductError: `out` is in the way.
        ResourceError: an extra is missing.
    """
    progress = progress or Silent()
    check_formats(formats)
    _check_folder(out, overwrite=overwrite)
    bundle = load_bundle(name_or_path)
    side = tile if tile is not None else default_tile(bundle)
    shape = (batch, bundle.spec.in_channels, side, side)
    examples = make_examples(shape)
    progress.begin("export", len(formats))
    parts: list[Exported] = []
    with _whole_folder(out) as folder:
        for one in formats:
            parts += export_network(bundle, folder, formats=[one], shape=shape, examples=examples)
            progress.advance()
            progress.note(_line(parts[-1]))
        _write_documents(folder, bundle, parts, shape=shape)
    return Export(folder=out, parts=tuple(parts))


def default_tile(bundle: ModelBundle) -> int:
    """512 pixels, or the next size from there that the network takes."""
    divisor = bundle.spec.divisor
    return -(-max(_TILE, bundle.spec.min_size) // divisor) * divisor


def make_examples(shape: tuple[int, int, int, int]) -> list[npt.NDArray[np.float32]]:
    """Normalised pixels to compare networks on: noise, and made-up scenes whose bands have mean 0 and deviation 1."""
    batch, bands, height, width = shape
    rng = np.random.default_rng(0)
    noise = [rng.standard_normal(shape, dtype=np.float32) for _ in range(_EXAMPLES)]
    scenes = []
    for seed in range(_EXAMPLES):
        tiles = [_scene(seed * batch + k, bands, height, width) for k in range(batch)]
        scenes.append(np.stack(tiles))
    return noise + scenes


def _scene(seed: int, bands: int, height: int, width: int) -> npt.NDArray[np.float32]:
    made = make_procedural_scene(seed, height=max(height, MIN_SIDE_PX), width=max(width, MIN_SIDE_PX))
    pixels = made.reflectance[:, :height, :width].astype(np.float32)
    pixels -= pixels.mean(axis=(1, 2), keepdims=True)
    pixels /= pixels.std(axis=(1, 2), keepdims=True) + 1e-6
    return pixels[np.arange(bands) % 3]


def _line(part: Exported) -> str:
    found = part.parity
    return (
        f"{part.files[0]}: {part.version}; probabilities differ by at most {found.max_difference:.1e}, "
        f"classes of {found.flipped_share:.4%} of the pixels"
    )


def _write_documents(
    folder: Path, bundle: ModelBundle, parts: Sequence[Exported], *, shape: tuple[int, int, int, int]
) -> None:
    names = [name for part in parts for name in part.files]
    files = {
        name: ProductFile(sha256=file_sha256(folder / name), bytes=(folder / name).stat().st_size) for name in names
    }
    item = make_model_item(_facts(bundle, shape), files, created=datetime.now(UTC))
    record = {
        **describe_contract(bundle, shape),
        "formats": [
            {
                "format": part.format,
                "files": list(part.files),
                "version": part.version,
                "max_difference": part.parity.max_difference,
                "flipped_share": part.parity.flipped_share,
            }
            for part in parts
        ],
        "files": {name: file.model_dump() for name, file in files.items()},
    }
    for name, document in ((ITEM, item), (RECORD, record)):
        (folder / name).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _facts(bundle: ModelBundle, shape: tuple[int, int, int, int]) -> ModelFacts:
    spec = bundle.spec
    return ModelFacts(
        name=spec.name,
        version=spec.version,
        description=spec.description,
        architecture=spec.architecture,
        sha256=bundle.sha256,
        licence=spec.licence,
        attribution=spec.training_data.attribution,
        framework_version=version("torch"),
        parameters=_parameters(bundle),
        band_scaling={
            band.name: ((band.mean - band.offset) / band.scale, band.std / band.scale) for band in spec.bands
        },
        legend=bundle.legend,
        shape=shape,
        gsd_m=spec.gsd_m,
        input_name=INPUT,
        output_name=OUTPUT,
        output_meaning=f"softmax(logits / {spec.temperature}) of each class",
    )


def _parameters(bundle: ModelBundle) -> int:
    return sum(one.numel() for one in load_network(bundle).parameters())


def _check_folder(out: Path, *, overwrite: bool) -> None:
    """Raises ProductError where something is in the way that is no earlier export, or may not be replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not _is_export(out):
        raise ProductError(f"{out} holds what no export left there: choose another folder")
    if not overwrite:
        raise ProductError(f"{out} already holds an export: give --overwrite or choose another folder")


def _is_export(out: Path) -> bool:
    """Whether the folder holds an export and nothing else."""
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        mine = {*record["files"], RECORD, ITEM}
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return {one.name for one in out.iterdir()} <= mine


@contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """A new folder beside `out` that takes its place in the end; what failed is removed, and `out` is as it was."""
    beside = out.with_name(f".{out.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        beside.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{out} cannot be made ({error.strerror}): choose another place") from error
    try:
        yield beside
        for one in beside.iterdir():
            move(one, one)  # brings it to the disk
        with uninterrupted():
            _replace(out, beside)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _replace(out: Path, beside: Path) -> None:
    """Puts one folder in the place of another; where that fails, the other is back."""
    if not out.exists():
        beside.rename(out)
        return
    old = beside.with_name(f"{beside.name}.old")
    out.rename(old)
    try:
        beside.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
