"""The schema of bundle.yaml: what weights need in order to be used rightly. Files, hashes: `bundle`."""

import difflib
import json
from collections.abc import Mapping
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator
from yaml.nodes import MappingNode, Node, ScalarNode

from geoseg.core.legend import LandClass, Legend
from geoseg.errors import BundleError
from geoseg.pipeline import Level

Dtype = Literal["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
"""dtypes a scene may have; a bundle may also say `any`."""


class Part(BaseModel):
    """A part of bundle.yaml: immutable, every key known, every number finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BandSpec(Part):
    """One input channel: x = (raw * scale + offset - mean) / std."""

    name: str = Field(min_length=1, description="common name of the band (STAC eo): red, green, blue, nir …")
    scale: float = Field(default=1.0, description="raw * scale + offset = the physical value")
    offset: float = Field(default=0.0, description="raw * scale + offset = the physical value")
    mean: float = Field(default=0.0, description="mean of the physical values in training; nodata becomes this")
    std: float = Field(default=1.0, gt=0, description="standard deviation of the physical values in training")


class Conversion(Part):
    """A fixed way from another level into the bundle's raw input: clip(raw * scale + offset)."""

    from_level: Level = Field(description="level of the scene this conversion takes")
    from_dtype: Dtype = Field(description="dtype of the scene this conversion takes")
    from_scale: float = Field(default=1.0, gt=0, description="encoding assumed: value = raw * from_scale + from_offset")
    from_offset: float = Field(default=0.0, description="encoding assumed: value = raw * from_scale + from_offset")
    scale: float = Field(default=1.0, description="converted = raw * scale + offset")
    offset: float = Field(default=0.0, description="converted = raw * scale + offset")
    clip_min: float | None = Field(default=None, description="smallest converted value; null: not clipped")
    clip_max: float | None = Field(default=None, description="largest converted value; null: not clipped")
    round: bool = Field(default=False, description="true: converted values are rounded half to even, after clipping")
    description: str = Field(default="", description="why these numbers, with their source")

    @model_validator(mode="after")
    def _clip_is_a_range(self) -> Self:
        if self.clip_min is not None and self.clip_max is not None and self.clip_min > self.clip_max:
            raise ValueError(f"clip_min {self.clip_min} is above clip_max {self.clip_max}")
        return self


class ClassSpec(Part):
    """One class of the legend."""

    id: int = Field(description="value in the class map, 0 … 199")
    name: str = Field(description="what users read")
    color: str = Field(description="#rrggbb")


class TrainingData(Part):
    """Where the weights come from."""

    description: str = Field(default="", description="what was learnt from")
    attribution: str = Field(default="", description="whom to name, as the licence asks")
    licence_status: str = Field(default="", description="what is known of the data's licence")
    inputs: dict[str, str] = Field(default_factory=dict, description="training file -> its sha256")
    procedural_seeds: tuple[int, ...] = Field(default=(), description="seeds of generated training scenes")


class Appearance(Part):
    """How the CRF sees an image: tone_k = clip(sum of weights[k][band] * x_band + offsets[k], 0, 255)."""

    weights: tuple[tuple[float, ...], ...] = Field(min_length=1, max_length=3, description="per tone, per band of x")
    offsets: tuple[float, ...] = Field(description="per tone; x is (physical - mean) / std")


class BundleSpec(Part):
    """Everything bundle.yaml says."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="the name users choose it by")
    version: str = Field(min_length=1, description="changes whenever weights or contract change")
    description: str = Field(default="", description="one line for humans")
    architecture: str = Field(min_length=1, description="unet, or <smp architecture>:<encoder>, e.g. unet:resnet18")
    options: dict[str, JsonValue] = Field(default_factory=dict, description="arguments of the architecture")
    bands: tuple[BandSpec, ...] = Field(min_length=1, description="input channels, in order")
    level: Literal["toa", "surface", "display8", "any"] = Field(
        description="what raw values mean: toa, surface, display8; any: no matter"
    )
    dtype: Literal["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64", "any"] = Field(
        description="dtype of the raw values the bands' scale is for; any: no matter"
    )
    conversions: tuple[Conversion, ...] = Field(default=(), description="fixed conversions into level and dtype")
    nodata: Literal["mean"] = Field(default="mean", description="an invalid pixel enters as the mean of its band")
    gsd_m: float = Field(gt=0, description="ground metres per pixel it was trained at")
    gsd_min_m: float = Field(gt=0, description="finest ground pixel accepted, metres")
    gsd_max_m: float = Field(gt=0, description="coarsest ground pixel accepted, metres")
    legend: tuple[ClassSpec, ...] = Field(min_length=1, description="classes, in the order of the output channels")
    temperature: float = Field(default=1.0, gt=0, description="probabilities = softmax(logits / temperature)")
    divisor: int = Field(ge=1, description="tile sides and origins are multiples of it")
    min_size: int = Field(ge=1, description="smallest tile side")
    margin_tolerance: int = Field(ge=0, description="margin beyond which at most `tolerance` of the pixels differ")
    margin_exact: int | None = Field(default=None, ge=0, description="receptive field; null: the whole tile")
    tolerance: float = Field(default=0.001, gt=0, lt=1, description="share of pixels that may depend on the tiling")
    appearance: Appearance | None = Field(default=None, description="how the CRF sees an image; null: not said")
    licence: str = Field(min_length=1, description="SPDX id of the weights' licence")
    training_data: TrainingData = Field(default=TrainingData(), description="where the weights come from")
    metrics: dict[str, JsonValue] = Field(default_factory=dict, description="measured figures, by name")
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="sha256 of model.safetensors")
    forest_definition: str | None = Field(default=None, description="what forest means, if a class uses the word")

    @property
    def in_channels(self) -> int:
        """Input channels of the network, one per band."""
        return len(self.bands)

    @property
    def band_names(self) -> tuple[str, ...]:
        """Common names, in channel order."""
        return tuple(band.name for band in self.bands)

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if len(set(self.band_names)) != len(self.bands):
            raise ValueError(f"bands {list(self.band_names)} names one twice")
        if not self.gsd_min_m <= self.gsd_m <= self.gsd_max_m:
            raise ValueError(f"gsd_m {self.gsd_m} is not between gsd_min_m {self.gsd_min_m} and {self.gsd_max_m}")
        for key in ("min_size", "margin_tolerance", "margin_exact"):
            value = getattr(self, key)
            if value is not None and value % self.divisor:
                raise ValueError(f"{key} {value} is not a multiple of divisor {self.divisor}")
        self._check_appearance()
        to_legend(self)
        return self

    def _check_appearance(self) -> None:
        seen = self.appearance
        if seen is None:
            return
        if len(seen.weights) != len(seen.offsets) or any(len(row) != len(self.bands) for row in seen.weights):
            raise ValueError(f"appearance needs an offset per tone and {len(self.bands)} weights in each")


def to_legend(spec: BundleSpec) -> Legend:
    """The classes as the value every room shares."""
    return Legend(classes=tuple(LandClass(id=one.id, name=one.name, color=one.color) for one in spec.legend))


class _Loader(yaml.SafeLoader):
    """YAML without aliases (a small file could expand without end) and without repeated keys."""

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                raise yaml.YAMLError(f"line {key.start_mark.line + 1}: a key must be a word")
            if key.value in seen:
                raise yaml.YAMLError(f"line {key.start_mark.line + 1}: key {key.value!r} is there twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """YAML that spells repeated values out."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def dump_spec(spec: BundleSpec) -> str:
    """bundle.yaml of a spec, keys in the order of the schema."""
    content = spec.model_dump(mode="json")
    plain = json.dumps(content, ensure_ascii=False).isprintable()  # PyYAML loses unescaped U+0085 and its kind
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=plain, width=100)


def parse_spec(text: str, *, place: str) -> BundleSpec:
    """The spec in the text of a bundle.yaml; `place` is its path, for messages.

    Raises:
        BundleError: not YAML, an unknown key (nearest one named), a bad or missing value.
    """
    return validate_spec(parse_spec_fields(text, place=place), place=place)


def parse_spec_fields(text: str, *, place: str) -> dict[str, Any]:
    """The keys of a bundle.yaml as they are written, not looked at; errors as `parse_spec`."""
    try:
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise BundleError(f"{place} is not readable YAML: {reason}") from error
    if not isinstance(content, dict):
        raise BundleError(f"{place} holds no keys: a bundle.yaml is a mapping with name, architecture, bands …")
    return content


def validate_spec(content: Mapping[str, Any], *, place: str) -> BundleSpec:
    """The spec with this content; errors as `parse_spec`."""
    try:
        return BundleSpec.model_validate(dict(content))
    except ValidationError as error:
        raise BundleError(_explain(error, place)) from error


_PARTS: Mapping[str, type[Part]] = {
    "bands": BandSpec,
    "conversions": Conversion,
    "legend": ClassSpec,
    "training_data": TrainingData,
}


def _explain(error: ValidationError, place: str) -> str:
    """One line for the first fault: file, key, value, reason, nearest valid key."""
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    key = ".".join(where)
    if first["type"] == "extra_forbidden":
        owner = _PARTS.get(where[0], BundleSpec) if len(where) > 1 else BundleSpec
        names = list(owner.model_fields)
        near = difflib.get_close_matches(where[-1], names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(names)}"
        return f"{place}: key {key} is not known: {hint}"
    if first["type"] == "missing":
        return f"{place}: key {key} is missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {key} = {first['input']!r}: {message}" if key else f"{place}: {message}"
