"""The STAC item of an exported model, by the Machine Learning Model extension; nothing is read but the values given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pystac import Asset, Item
from pystac.extensions.classification import Classification
from pystac.extensions.file import FileExtension
from pystac.extensions.mlm import (
    AcceleratorType,
    InputStructure,
    MLMExtension,
    ModelInput,
    ModelOutput,
    ProcessingExpression,
    ResultStructure,
    TaskType,
    ValueScaling,
    ValueScalingType,
)
from pystac.extensions.raster import DataType

from geoseg.core.legend import Legend
from geoseg.outcome import ProductFile
from geoseg.report.stac import slug

_MODEL: Final = {  # suffix: media type, title, artifact
    "onnx": ("application/octet-stream; application=onnx", "ONNX", "onnx"),
    "pt2": ("application/octet-stream; application=pytorch", "torch.export", "torch.export.save"),
    "xml": ("application/xml", "OpenVINO IR", "openvino"),
}
_DATA: Final = {"bin": ("application/octet-stream", "Weights of the OpenVINO IR")}
_ORDER: Final = ["batch", "bands", "height", "width"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a catalog says of a model."""

    name: str
    version: str
    description: str
    architecture: str
    sha256: str
    """Of the bundle it was made from."""
    licence: str
    attribution: str
    """Whom to name for the training data."""
    framework_version: str
    parameters: int
    band_scaling: Mapping[str, tuple[float, float]]
    """Common name of a band, in channel order -> (mean, standard deviation) of its raw numbers."""
    legend: Legend
    shape: tuple[int, int, int, int]
    """(tiles at once, bands, height, width) of the input."""
    gsd_m: float
    input_name: str
    output_name: str
    output_meaning: str


def make_model_item(facts: ModelFacts, files: Mapping[str, ProductFile], *, created: datetime) -> dict[str, Any]:
    """item.json (STAC 1.1) of the model's files, which lie beside it. It has no geometry: a model is of no place."""
    item = Item(
        id=f"{facts.name}-{facts.version}-{facts.sha256[:12]}",
        geometry=None,
        bbox=None,
        datetime=created,
        properties={
            "title": f"{facts.name} {facts.version}",
            "description": facts.description or f"{facts.name}, a model of geoseg",
            "license": facts.licence,
            "gsd": facts.gsd_m,
            "geoseg:bundle": facts.name,
            "geoseg:bundle_sha256": facts.sha256,
            "geoseg:attribution": facts.attribution,
        },
    )
    _describe(item, facts)
    for name, file in files.items():
        _add_asset(item, name, file, bands=list(facts.band_scaling))
    return item.to_dict(include_self_link=False)


def _describe(item: Item, facts: ModelFacts) -> None:
    MLMExtension.ext(item, add_if_missing=True).apply(
        name=facts.name,
        architecture=facts.architecture,
        tasks=[TaskType.SEMANTIC_SEGMENTATION],
        framework="PyTorch",
        framework_version=facts.framework_version,
        total_parameters=facts.parameters,
        pretrained=True,
        batch_size_suggestion=facts.shape[0],
        accelerator=AcceleratorType.AMD64,
        accelerator_constrained=False,
        input=[_input(facts)],
        output=[_output(facts)],
    )


def _input(facts: ModelFacts) -> ModelInput:
    made = ModelInput.create(
        name=facts.input_name,
        bands=list(facts.band_scaling),
        input=InputStructure.create(shape=list(facts.shape), dim_order=_ORDER, data_type=DataType.FLOAT32),
        description="(raw - mean) / stddev of each band; 0 where a pixel was not observed",
    )
    # One entry per band, as the extension has it from 1.3 on; pystac's setter takes a single one.
    made.properties["value_scaling"] = [
        ValueScaling.create(ValueScalingType.Z_SCORE, mean=mean, stddev=std).to_dict()
        for mean, std in facts.band_scaling.values()
    ]
    return made


def _output(facts: ModelFacts) -> ModelOutput:
    batch, _, height, width = facts.shape
    return ModelOutput.create(
        name=facts.output_name,
        tasks=[TaskType.SEMANTIC_SEGMENTATION],
        result=ResultStructure.create(
            shape=[batch, len(facts.legend), height, width],
            dim_order=["batch", "channel", "height", "width"],
            data_type=DataType.FLOAT32,
        ),
        description=facts.output_meaning,
        classes=[
            Classification.create(
                value=one.id, name=slug(one.name, one.id), title=one.name, color_hint=one.color[1:].upper()
            )
            for one in facts.legend
        ],
        post_processing_function=ProcessingExpression.create(
            format="python", expression="legend[probabilities.argmax(axis=1)]"
        ),
    )


def _add_asset(item: Item, name: str, file: ProductFile, *, bands: Sequence[str]) -> None:
    suffix = name.rpartition(".")[2]
    if suffix in _MODEL:
        kind, title, artifact = _MODEL[suffix]
        more: dict[str, Any] = {"mlm:artifact_type": artifact, "bands": [{"name": band} for band in bands]}
        asset = Asset(href=f"./{name}", media_type=kind, title=title, roles=["mlm:model"], extra_fields=more)
    elif suffix in _DATA:
        kind, title = _DATA[suffix]
        asset = Asset(href=f"./{name}", media_type=kind, title=title, roles=["mlm:weights"])
    else:
        return
    item.add_asset(suffix, asset)
    # a multihash: 12 = sha2-256, 20 = 32 bytes
    FileExtension.ext(asset, add_if_missing=True).apply(checksum=f"1220{file.sha256}", size=file.bytes)
