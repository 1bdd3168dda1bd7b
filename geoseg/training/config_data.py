"""What a training run learns from, as values: scenes with labels, what is held out, how windows are drawn."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from geoseg.pipeline import Level
from geoseg.section import Section


def _texts(value: Any) -> Any:
    """YAML reads `1: 0` and `[255]` as numbers; values of labels are named by text."""
    if isinstance(value, dict):
        return {str(key) if isinstance(key, int) else key: one for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [str(one) if isinstance(one, int) else one for one in value]
    return value


def _named(value: Any) -> Any:
    """YAML reads `red: 3` as a number; a band is named by text."""
    if not isinstance(value, dict):
        return value
    return {key: str(one) if isinstance(one, int) else one for key, one in value.items()}


ClassId: TypeAlias = Annotated[int, Field(ge=0, le=199)]
Remap: TypeAlias = Annotated[dict[str, ClassId], BeforeValidator(_texts)]
Values: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_texts)]


class LabelledSceneConfig(Section):
    """One scene and its labels, on any two grids."""

    scene: Path = Field(description="a GeoTIFF or JPEG 2000, a folder with a file per band, or a .txt list of files")
    labels: Path = Field(description="a raster of class values, or a file of polygons")
    bands: Annotated[dict[str, str], BeforeValidator(_named)] = Field(
        default_factory=dict, description="common name -> band number, description or file name"
    )
    level: Level | None = Field(default=None, description="what pixel values mean; null: what the scene says")
    collar: float | None = Field(default=None, allow_inf_nan=False, description="value outside the scene in every band")
    field: str | None = Field(default=None, description="of polygons: the column that holds the class values")
    layer: str | None = Field(default=None, description="of polygons: their layer; null: the only one")
    remap: Remap = Field(default_factory=dict, description="value -> class id; others are ignored; empty: value = id")
    ignore: Values = Field(default=(), description="values without a class")

    @model_validator(mode="after")
    def _nothing_is_both(self) -> Self:
        both = sorted(set(self.remap) & set(self.ignore))
        if both:
            raise ValueError(f"value {both[0]!r} is in remap and in ignore: take it out of one")
        return self


class BlockConfig(Section):
    """Scenes are cut into square blocks; some are never trained on, and scored instead."""

    side_px: int = Field(default=256, ge=16, description="of a block, from the scene's first pixel")
    side_m: float | None = Field(default=None, gt=0, description="the same in ground metres; null: side_px")
    by: Literal["share", "checkerboard", "scene"] = Field(
        default="share", description="share: blocks with classes as in the whole; scene: whole scenes are drawn"
    )
    held_share: float = Field(default=0.0, ge=0, lt=1, description="of the labelled pixels: held out, evaluated on")
    test_share: float = Field(default=0.0, ge=0, lt=1, description="of the labelled pixels: touched by nothing here")
    buffer_px: int = Field(default=32, ge=0, description="around held blocks: pixels that are not trained on either")
    seed: int = Field(default=0, ge=0, description="of the draw")

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.held_share + self.test_share >= 1:
            raise ValueError(f"held_share {self.held_share} + test_share {self.test_share} leave nothing to train on")
        if self.by == "checkerboard" and self.test_share:
            raise ValueError("a checkerboard has two colours: test_share needs by: share or scene")
        return self


class SamplingConfig(Section):
    """Where windows of scenes are cut: around labelled pixels, whose class is drawn first."""

    evenness: float = Field(
        default=0.5, ge=0, le=1, description="0: classes as often as they are labelled; 1: all alike"
    )
    class_weights: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        default=(), description="how often the drawn pixel is of each class, instead of evenness"
    )
    shift: float = Field(
        default=0.5, ge=0, le=1, description="the drawn pixel is off the centre by up to this part of half a window"
    )
    labelled_share: float = Field(
        default=0.05, ge=0, le=1, description="of a window's pixels at least, where a few draws find such a window"
    )


class DataConfig(Section):
    """What is trained on and what is held out: rows of tiles.csv in --data, or scenes."""

    split: str = Field(default="train", description="rows of tiles.csv that are trained on, by their column split")
    held_split: str | None = Field(default=None, description="rows that are evaluated on and never trained on")
    scenes: tuple[LabelledSceneConfig, ...] = Field(default=(), description="instead of tiles.csv")
    blocks: BlockConfig = Field(default=BlockConfig(), description="of scenes: what is held out")
    sampling: SamplingConfig = Field(default=SamplingConfig(), description="of scenes: how windows are drawn")

    @property
    def is_held(self) -> bool:
        """Something is held out and evaluated on."""
        if self.scenes:
            return self.blocks.held_share > 0 or self.blocks.by == "checkerboard"
        return self.held_split is not None

    def check_classes(self, classes: int) -> None:
        """Whatever names a class id or has a value per class.

        Raises:
            ValueError: it does not fit the number of classes.
        """
        for one in self.scenes:
            high = max(one.remap.values(), default=0)
            if high >= classes:
                raise ValueError(f"data.scenes: remap gives class {high}; there are {classes} classes, ids from 0")
        count = len(self.sampling.class_weights)
        if count not in (0, classes):
            raise ValueError(f"data.sampling.class_weights has {count} values; there are {classes} classes")
