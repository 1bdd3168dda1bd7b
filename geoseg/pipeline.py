"""What to make: everything that may change a pixel. How to run it here is `config`; no heavy import."""

import hashlib
import json
import math
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from geoseg.definition import Definition
from geoseg.section import Section

Level = Literal["toa", "surface", "display8"]
"""What pixel values mean: top-of-atmosphere or surface reflectance, or an 8-bit display image."""
Product = Literal["classes", "confidence", "areas", "polygons", "report"]
Engine = Literal["torch-cpu", "torch-cuda"]
Precision = Literal["fp32", "bf16"]


class SceneSection(Section):
    """How the scene is read."""

    bands: dict[str, str] = Field(
        default_factory=dict, description="common name -> band number, description or file name, e.g. red: '1'"
    )
    level: Level | None = Field(
        default=None, description="what the pixel values mean; null: only what the scene itself says"
    )
    collar: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="a value that marks pixels outside the scene in every band (no nodata tag)",
    )

    @field_validator("bands", mode="before")
    @classmethod
    def _numbers_are_names(cls, value: Any) -> Any:
        """YAML reads `red: 3` as a number; a band is named by text."""
        if not isinstance(value, dict):
            return value
        return {key: str(band) if isinstance(band, int) else band for key, band in value.items()}


class TilingSection(Section):
    """How the scene is cut into overlapping tiles and blended back."""

    tile: int = Field(default=512, ge=16, le=8192, description="tile side in pixels")
    margin: Annotated[int, Field(ge=0)] | Literal["tolerance", "exact"] = Field(
        default="tolerance",
        description="outer pixels of a tile with weight 0: the bundle's tolerance margin, its exact receptive "
        "field, or a number of pixels",
    )
    ramp: int = Field(default=32, ge=0, description="pixels over which two tiles are blended, beyond the margins")
    window: Literal["hann", "linear", "crop"] = Field(default="hann", description="shape of the ramp; crop has none")


class InferenceSection(Section):
    """Which engine computes, and how precisely; `auto` is resolved once, at plan time."""

    engine: Engine | Literal["auto"] = Field(default="auto", description="torch-cpu, torch-cuda or auto")
    precision: Precision | Literal["auto"] = Field(default="auto", description="fp32, bf16 or auto (by a table)")
    batch: int = Field(default=8, ge=1, description="tiles in one batch on CUDA; the CPU takes one at a time")


class RefinementSection(Section):
    """Probabilities brought to the edges of the image, tile by tile, before tiles are blended.

    A fully connected CRF (Kraehenbuehl, Koltun 2011); the numbers are those of DeepLab (Chen et al. 2016).
    """

    method: Literal["none", "crf"] = Field(default="none", description="crf: fully connected CRF; none: as predicted")
    iterations: int = Field(default=5, ge=1, le=50, description="mean-field iterations")
    smoothness_weight: float = Field(default=3.0, ge=0, allow_inf_nan=False, description="of the kernel of distance")
    smoothness_px: float = Field(default=3.0, gt=0, allow_inf_nan=False, description="its standard deviation, pixels")
    appearance_weight: float = Field(
        default=10.0, ge=0, allow_inf_nan=False, description="of the kernel of distance and colour"
    )
    appearance_px: float = Field(
        default=80.0, ge=1, allow_inf_nan=False, description="its standard deviation over the ground, pixels"
    )
    appearance_tone: float = Field(
        default=13.0, ge=1, allow_inf_nan=False, description="its standard deviation in tones of 0 to 255"
    )

    @property
    def reach_px(self) -> int:
        """Pixels from which a refined tile is near enough to that of the whole scene: two standard deviations."""
        return 0 if self.method == "none" else math.ceil(2 * max(self.smoothness_px, self.appearance_px))


class PolygonsSection(Section):
    """The polygons product."""

    format: Literal["gpkg", "parquet", "fgb", "geojson"] = Field(default="gpkg", description="file format")
    simplify_m: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="tolerance in ground metres of outlines that stay edge-matched; areas stay those of the pixels",
    )


class Pipeline(Section):
    """What to make of a scene: model, tiling, blending, precision, products."""

    name: str = Field(description="the name users choose it by")
    description: str = Field(default="", description="one line for humans; not part of the digest")
    model: str = Field(description="name of a shipped bundle, or the path of a bundle folder")
    scene: SceneSection = SceneSection()
    tiling: TilingSection = TilingSection()
    inference: InferenceSection = InferenceSection()
    refinement: RefinementSection = RefinementSection()
    polygons: PolygonsSection = PolygonsSection()
    definition: Definition | None = Field(
        default=None, description="what the map is brought to: minimum area, width and gap of the defined cover"
    )
    products: tuple[Product, ...] = Field(
        default=("classes", "confidence", "areas", "polygons", "report"), description="what a run leaves in its folder"
    )

    @model_validator(mode="after")
    def _products_hang_together(self) -> "Pipeline":
        if len(set(self.products)) != len(self.products):
            raise ValueError("products names one twice")
        if "classes" not in self.products:
            raise ValueError("products must contain classes: areas and polygons describe that raster")
        return self

    def digest(self) -> str:
        """sha256 of everything that may change a pixel: neither name, description nor the bundle's path."""
        content: dict[str, Any] = self.model_dump(mode="json", exclude={"name", "description", "model"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
