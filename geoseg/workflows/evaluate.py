"""A bundle judged on labelled images: each is mapped as `run` would, and what disagrees is counted, pooled and told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from geoseg.config import Config
from geoseg.errors import InputError, SettingsError
from geoseg.model.bundle import ModelBundle
from geoseg.model.predictor import Predictor
from geoseg.model.symmetric import SymmetricPredictor
from geoseg.pipeline import Pipeline
from geoseg.raster.labelled import BlockStore
from geoseg.raster.safety import raster_env
from geoseg.training.reliability import PixelDraw, ScoredPixels
from geoseg.workflows.evaluated import (
    Evaluated,
    EvaluatedSet,
    LabelOptions,
    find_trained,
    list_evaluated,
    open_evaluated,
)
from geoseg.workflows.image_scores import ImageScores, score_image
from geoseg.workflows.plan import Request, ScenePlan, plan_scene
from geoseg.workflows.progress import Progress, Silent
from geoseg.workflows.seams import SeamCount, count_seams
from geoseg.workflows.segment import load_predictor

Model: TypeAlias = Predictor | SymmetricPredictor


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateRequest:
    """What is to be judged, and on what."""

    source: str
    """A folder with tiles.csv, or a scene."""
    pipeline: Pipeline
    """How the images are mapped; its model is what is judged, its definition is not applied."""
    config: Config = field(default_factory=Config)
    split: str = "validation"
    """Rows of tiles.csv."""
    labels: LabelOptions | None = None
    """Of a scene."""
    symmetric: bool = False
    """Average over the eight symmetries of a tile."""
    seams: bool = False
    """Map twice, with shifted tiles; labels are then not needed."""
    sample: bool = False
    """Keep probabilities to fit a temperature to; refused for images that were trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What was found."""

    source: str
    split: str | None
    """None: of a scene."""
    bundle: ModelBundle
    plan: ScenePlan
    """Of the first image: engine and tiling are those of all."""
    symmetric: bool
    images: tuple[ImageScores, ...]
    """Empty where there were no labels."""
    trained_on: tuple[str, ...]
    """Names of images of which a file is listed as training data."""
    seams: dict[str, SeamCount]
    """Image -> pixels that depend on the tiling; empty where it was not asked for."""
    sample: ScoredPixels | None = None


def evaluate_bundle(request: EvaluateRequest, *, progress: Progress | None = None) -> Evaluation:
    """Maps every image and compares it with its labels; nothing is written.

    Raises:
        InputError: an image or its labels are refused, or a temperature is to be fitted to training data.
        ResourceError: no room on the device.
    """
    tell = progress or Silent()
    chosen = list_evaluated(request.source, split=request.split, labels=request.labels)
    with raster_env(cache_mb=request.config.gdal_cache_mb, threads=request.config.thread_count):
        plans = [_plan(one, request) for one in chosen.images]
        trained_on = find_trained(plans[0].bundle, [plan.scene for plan in plans])
        _tell_of_training(trained_on, plans, request=request, tell=tell)
        draw = PixelDraw(seed=0) if request.sample else None
        models = _Models(symmetric=request.symmetric)
        are_scored = request.sample or not request.seams or chosen.images[0].labels is not None
        images = _score(chosen, plans, models=models, draw=draw, tell=tell) if are_scored else ()
        seams = _count_seams(chosen, plans, models, tell) if request.seams else {}
    for note in models.notes:
        tell.note(note)
    return Evaluation(
        source=Path(request.source).name,
        split=chosen.split,
        bundle=plans[0].bundle,
        plan=plans[0],
        symmetric=request.symmetric,
        images=images,
        trained_on=trained_on,
        seams=seams,
        sample=draw.take() if draw is not None and images else None,
    )


class _Models:
    """Loaded networks: the last one is kept as long as the tiles stay alike."""

    def __init__(self, *, symmetric: bool) -> None:
        self.notes: list[str] = []
        self._symmetric = symmetric
        self._key: object = None
        self._model: Model | None = None

    def of(self, plan: ScenePlan) -> Model:
        """The network ready for the tiles of a plan."""
        key = (plan.tiles.tile_shape, plan.conversion, plan.bundle.sha256)
        if self._model is None or key != self._key:
            self._model = None  # lets go of its memory before the next is loaded
            make: Callable[[tuple[int, int]], Predictor] = lambda shape: load_predictor(plan, tile_shape=shape)  # noqa: E731
            shape = plan.tiles.tile_shape
            self._model, self._key = SymmetricPredictor(make, shape) if self._symmetric else make(shape), key
        self.notes = list(dict.fromkeys([*self.notes, *self._model.notes]))
        return self._model


def _plan(one: Evaluated, request: EvaluateRequest) -> ScenePlan:
    return plan_scene(Request(source=one.scene, pipeline=request.pipeline, config=request.config))


def _tell_of_training(
    trained_on: Sequence[str], plans: Sequence[ScenePlan], *, request: EvaluateRequest, tell: Progress
) -> None:
    """Figures of images that were trained on say nothing of others."""
    for note in dict.fromkeys(note for plan in plans for note in plan.notes):
        tell.note(note)
    if not trained_on:
        return
    found = f"{len(trained_on)} of {len(plans)} images were trained on (sha256 in bundle.yaml: {trained_on[0]})"
    if request.sample:
        raise SettingsError(f"{found}: a temperature needs images that were not, choose another split or scene")
    tell.warn(f"{found}: these figures say nothing of other images")


def _score(
    chosen: EvaluatedSet,
    plans: Sequence[ScenePlan],
    *,
    models: _Models,
    draw: PixelDraw | None,
    tell: Progress,
) -> tuple[ImageScores, ...]:
    store = BlockStore()
    opened = [
        open_evaluated(one, plan, in_set=chosen.split is not None, store=store)
        for one, plan in zip(chosen.images, plans, strict=True)
    ]
    for note in dict.fromkeys(note for _, notes in opened for note in notes):
        tell.note(note)
    tell.begin("tiles", sum(plan.tiles.count(plan.panels) for plan in plans))
    images = []
    for plan, (labels, _) in zip(plans, opened, strict=True):
        images.append(score_image(plan, models.of(plan), labels, name=labels.name, draw=draw, progress=tell))
    if not any(one.confusion.counts.any() for one in images):
        raise InputError(f"{chosen.images[0].scene}: no labelled pixel was observed: do labels and images overlap?")
    return tuple(images)


def _count_seams(
    chosen: EvaluatedSet, plans: Sequence[ScenePlan], models: _Models, tell: Progress
) -> dict[str, SeamCount]:
    pairs = zip(chosen.images, plans, strict=True)
    return {one.name: count_seams(plan, models.of(plan), progress=tell) for one, plan in pairs}
