"""The pictures of a report: the map, its confidence and the scene, once it is clear that it is the run's scene."""

from pathlib import Path
from typing import Final

from geoseg.core.grid import same_grid
from geoseg.core.picture import ClassPicture
from geoseg.errors import GeosegError, SceneError
from geoseg.outcome import RunRecord
from geoseg.raster.classmap import ClassMap, read_classmap
from geoseg.raster.overview import MAX_SIDE, draw_classes, draw_confidence, draw_scene, plan_frame
from geoseg.raster.safety import plain, raster_env
from geoseg.raster.scene import Scene, SceneOptions, open_scene
from geoseg.report.content import MapContent

NO_SCENE: Final = (
    "The scene itself is not shown: its file was not given or is no longer the same; geoseg report DIR --scene FILE "
    "adds its picture."
)


def draw_map(
    path: Path, record: RunRecord, *, scene: Path | None, same_scene: bool
) -> tuple[MapContent | None, tuple[str, ...]]:
    """The pictures of a map and of what lies beside it, and what could not be drawn and why.

    Args:
        path: classes.tif or change.tif; confidence.tif may be beside it.
        record: of the run that made it.
        scene: what was mapped, for its picture.
        same_scene: the caller has just read this very scene.

    Raises:
        ProductError: the map is missing or damaged.
        SceneError: the scene cannot be read, or is not that of the run.
    """
    with raster_env():
        classmap = read_classmap(path)
        try:
            frame = plan_frame(classmap.grid)
        except SceneError as error:
            return None, (f"{error}.",)
        opened = None if scene is None else _open_scene(scene, record)
        remarks = () if opened is None or same_scene else _check_scene(opened, record, classmap)
        shown = MapContent(
            classes=draw_classes(classmap, frame),
            legend=classmap.legend,
            confidence=_draw_confidence(path.with_name("confidence.tif"), classmap),
            scene=None if opened is None else draw_scene(opened, frame),
        )
    if opened is None and record.change is None:
        remarks = (NO_SCENE,)
    return shown, remarks


def find_scene(folder: Path, record: RunRecord) -> Path | None:
    """The run's input beside its folder, if it is still the very same file."""
    name = record.scene
    if record.change is not None or not name or Path(name).name != name:
        return None
    beside = folder.resolve().parent / name
    if not beside.exists():
        return None
    try:
        with raster_env():
            scene = open_scene(beside, options=SceneOptions(allow_large=True))
            return beside if _fits(scene, record) else None
    except GeosegError:
        return None


def _draw_confidence(path: Path, classmap: ClassMap) -> ClassPicture | None:
    """On the bounds of the classes, at half their resolution: it is noisy, and only its pattern is looked at."""
    if not path.is_file():
        return None
    return draw_confidence(path, classmap.grid, plan_frame(classmap.grid, max_side=MAX_SIDE // 2))


def _open_scene(source: Path, record: RunRecord) -> Scene:
    """The scene with the bands and the collar that the run was told."""
    settings = record.pipeline.get("scene")
    settings = settings if isinstance(settings, dict) else {}
    bands, collar = settings.get("bands"), settings.get("collar")
    named = {str(key): str(value) for key, value in bands.items()} if isinstance(bands, dict) else {}
    options = SceneOptions(collar=float(collar) if isinstance(collar, int | float) else None, allow_large=True)
    return open_scene(source, bands=named, options=options)


def _check_scene(scene: Scene, record: RunRecord, classmap: ClassMap) -> tuple[str, ...]:
    """What must be said of a scene whose picture is shown; one of another name or grid is refused."""
    if _fits(scene, record):
        return ()
    if scene.name != record.scene or not same_grid(scene.grid, classmap.grid):
        raise SceneError(
            f"{scene.name} is not the scene of this run ({plain(record.scene)}): name or grid differ; give that one, "
            "or leave --scene out"
        )
    return (
        "The picture of the scene is of a file with the name and grid of the run's input; that it is the same file "
        "could not be proven.",
    )


def _fits(scene: Scene, record: RunRecord) -> bool:
    """Whether the fingerprint is that of the run: of the scene, or of the bands a true-color bundle takes of it."""
    if scene.fingerprint == record.fingerprint:
        return True
    try:
        return scene.select(("red", "green", "blue")).fingerprint == record.fingerprint
    except SceneError:
        return False
