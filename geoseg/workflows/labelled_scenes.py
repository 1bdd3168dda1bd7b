"""Scenes of a training run with their labels, opened: grids, class values and units brought together."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geoseg.core.patch_source import IGNORE
from geoseg.errors import InputError, SceneError
from geoseg.model.bundle import check_scene, infer_level
from geoseg.model.spec import BundleSpec, Conversion
from geoseg.raster.labelled import BLOCK, BlockStore, LabelledRaster
from geoseg.raster.labels import LabelSource, PolygonLabels, open_label_raster, values_in
from geoseg.raster.safety import find_local_path
from geoseg.raster.scene import Scene, SceneOptions, open_scene
from geoseg.training.blocks import Block, count_blocks, split_blocks, tile_windows
from geoseg.training.config import TrainConfig
from geoseg.training.config_data import LabelledSceneConfig
from geoseg.training.folds import Position
from geoseg.training.ground import Ground
from geoseg.vector.pieces import pixel_pieces
from geoseg.vector.read import Zones, read_zones
from geoseg.workflows.overlaps import find_shadows, number_grids
from geoseg.workflows.plan import ground_metres, stated_encoding
from geoseg.workflows.training_contract import input_contract

RASTER_SUFFIXES: Final = (".tif", ".tiff", ".jp2", ".j2k")
_MIN_SIDE_PX: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenGround:
    """The ground of a run, and what is to be told of it."""

    ground: Ground
    files: Mapping[str, Path]
    """scene/file -> its path, of every file that is read."""
    notes: tuple[str, ...]
    grids: tuple[GeoBox, ...]
    """Of the scenes."""

    def digests(self) -> dict[str, str]:
        """scene/file -> sha256; every file is read."""
        return {name: _sha256(file) for name, file in self.files.items()}

    def position(self, block: Block) -> Position:
        """Longitude and latitude of a block's middle, in degrees."""
        grid, window = self.grids[block.scene], block.window
        middle = (window.col + window.width / 2, window.row + window.height / 2)
        to_degrees = Transformer.from_crs(grid.crs.to_wkt() if grid.crs else "", "OGC:CRS84", always_xy=True)
        longitude, latitude = to_degrees.transform(*(grid.transform * middle))
        return float(longitude), float(latitude)


def open_ground(config: TrainConfig) -> OpenGround:
    """The scenes of a config; labels are read once to see what is where.

    Raises:
        InputError: scenes or labels that cannot be used, or that the bundle would not take.
        SettingsError: nothing is left to train on.
    """
    spec = input_contract(config)
    opened = [_open(one, spec) for one in config.data.scenes]
    names = _unique([one.scene.name for one in opened])
    store = BlockStore()
    scenes = tuple(
        LabelledRaster(one.scene, one.labels, name=name, store=store) for one, name in zip(opened, names, strict=True)
    )
    sides = [_side_px(config, one.scene) for one in opened]
    blocks = count_blocks(scenes, side_px=sides, classes=config.network.classes)
    grids = tuple(one.scene.grid for one in opened)
    split = split_blocks(blocks, config.data.blocks, grids=number_grids(grids))
    ground = Ground(
        scenes=scenes,
        conversions=tuple(one.conversion for one in opened),
        scale=tuple(band.scale for band in spec.bands),
        offset=tuple(band.offset for band in spec.bands),
        split=replace(split, shadows=find_shadows(grids, split)),
    )
    files = {
        f"{name}/{file.name}": file
        for name, one, given in zip(names, opened, config.data.scenes, strict=True)
        for file in _files(one.scene, given)
    }
    notes = tuple(dict.fromkeys(note for one in opened for note in one.notes))
    return OpenGround(ground=ground, files=files, grids=grids, notes=notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    scene: Scene
    labels: LabelSource
    conversion: Conversion | None
    notes: tuple[str, ...]


def open_training_scene(one: LabelledSceneConfig) -> Scene:
    """A scene of a config, with every band it has."""
    return open_scene(one.scene, bands=one.bands, options=SceneOptions(level=one.level, collar=one.collar))


def _open(one: LabelledSceneConfig, spec: BundleSpec) -> _Opened:
    scene = open_training_scene(one).select(spec.band_names)
    level, guess = infer_level(scene.level, dtype=scene.dtype, band_count=len(scene.bands))
    conversion = check_scene(
        spec,
        scene_name=scene.name,
        band_names=[band.name for band in scene.bands],
        level=level,
        dtype=scene.dtype,
        gsd_m=ground_metres(scene),
        encoding=None if spec.level == "any" else stated_encoding(scene),
    )
    labels, notes = open_labels(one, scene, classes=len(spec.legend))
    said = [guess] if guess else []
    return _Opened(scene=scene, labels=labels, conversion=conversion, notes=(*scene.notes, *said, *notes))


def is_raster(path: Path) -> bool:
    """Labels in a raster, told by the name; else they are polygons."""
    return path.suffix.lower() in RASTER_SUFFIXES


def label_values(one: LabelledSceneConfig) -> tuple[str, ...]:
    """Every class value in the labels, ignored ones left out: numbers ascending, else by letters.

    Raises:
        InputError: the labels cannot be used.
    """
    if is_raster(one.labels):
        path = find_local_path(str(one.labels))
        grid = open_training_scene(one).grid
        found = [str(value) for value in values_in(open_label_raster(path, grid, remap={}))]
    else:
        found = [name for name in _read_polygons(one).names if not name.endswith("(no name)")]
    kept = [value for value in found if value not in one.ignore]
    return tuple(sorted(kept, key=lambda value: (0, int(value), value) if value.isdigit() else (1, 0, value)))


def open_labels(one: LabelledSceneConfig, scene: Scene, *, classes: int) -> tuple[LabelSource, tuple[str, ...]]:
    """The labels of a scene on its grid, and what is to be told of them.

    Raises:
        InputError: a file, column or value that cannot be used.
    """
    if not is_raster(one.labels):
        return _open_polygons(one, scene, classes=classes)
    path = find_local_path(str(one.labels))
    if one.field or one.layer:
        raise InputError(f"{path.name} is a raster, which has no field or layer: leave them out")
    numbers = {text: _number(text, path.name) for text in (*one.remap, *one.ignore)}
    remap = {numbers[value]: class_id for value, class_id in one.remap.items()}
    ignored = frozenset(numbers[value] for value in one.ignore) | {IGNORE}
    return open_label_raster(path, scene.grid, remap=remap, ignore=ignored - set(remap), classes=classes), ()


def _number(text: str, place: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"{place} is a raster of numbers: {text!r} in remap or ignore is none of them") from error


def _read_polygons(one: LabelledSceneConfig) -> Zones:
    try:
        path = find_local_path(str(one.labels))
    except SceneError as error:
        raise InputError(f"labels: {error}") from error
    if one.field is None:
        raise InputError(f"{path.name} holds polygons: name the column of their classes (field, --field)")
    return read_zones(path, field=one.field, layer=one.layer)


def _open_polygons(one: LabelledSceneConfig, scene: Scene, *, classes: int) -> tuple[PolygonLabels, tuple[str, ...]]:
    zones = _read_polygons(one)
    chosen: dict[int, list[int]] = {}
    for place, value in enumerate(zones.names):
        class_id = _class_of(value, one, classes=classes, place=zones.source)
        if class_id is not None:
            chosen.setdefault(class_id, []).append(place)
    shapes, notes = {}, [f"labels: {note}" for note in zones.notes]
    for class_id, places in sorted(chosen.items()):
        part = replace(zones, names=tuple(zones.names[k] for k in places), geometries=zones.geometries[places])
        shapes[class_id], is_coarse = pixel_pieces(part, scene.grid)
        if is_coarse:
            notes.append(f"{zones.source}: the best datum shift to the scene's CRS is not installed: metres off")
    labels = PolygonLabels(shapes=shapes)
    twice = sum(int(labels.burn(window)[1].sum()) for window in tile_windows(_shape(scene), BLOCK))
    if twice:
        notes.append(f"{zones.source}: {twice} pixels of {scene.name} lie in polygons of two classes, and are ignored")
    return labels, tuple(dict.fromkeys(notes))


def _class_of(value: str, one: LabelledSceneConfig, *, classes: int, place: str) -> int | None:
    """The class id of a polygon's value; None: it is ignored."""
    if value in one.ignore or value == str(IGNORE) or value.endswith("(no name)"):
        return one.remap.get(value) if value not in one.ignore else None
    if one.remap:
        return one.remap.get(value)
    if value.isdigit() and int(value) < classes:
        return int(value)
    raise InputError(f"{place}: the value {value!r} is no class id: give it one (remap), or ignore it")


def _shape(scene: Scene) -> tuple[int, int]:
    height, width = scene.grid.shape
    return int(height), int(width)


def _side_px(config: TrainConfig, scene: Scene) -> int:
    wanted = config.data.blocks
    if wanted.side_m is None:
        return wanted.side_px
    return max(_MIN_SIDE_PX, round(wanted.side_m / ground_metres(scene)))


def _unique(names: Sequence[str]) -> list[str]:
    return [name if names.count(name) == 1 else f"{name} ({k})" for k, name in enumerate(names, start=1)]


def _files(scene: Scene, one: LabelledSceneConfig) -> Iterator[Path]:
    for file in scene.files:
        yield from (Path(stamp.uri) for stamp in file.stamps)
    yield one.labels


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path.name} cannot be read ({error.strerror}): put it back") from error
