"""The STAC item of a model says what its files take and give; catalogs read it back."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pystac
import pytest
from pystac.extensions.mlm import MLMExtension

from geoseg.core.legend import LandClass, Legend
from geoseg.outcome import ProductFile
from geoseg.report.model_item import ModelFacts, make_model_item

FACTS = ModelFacts(
    name="land",
    version="2",
    description="",
    architecture="unet",
    sha256="ab" * 32,
    licence="CC-BY-4.0",
    attribution="(c) somebody",
    framework_version="2.9",
    parameters=1234,
    band_scaling={"red": (1000.0, 250.0), "nir": (3000.0, 500.0)},
    legend=Legend(
        classes=(LandClass(id=3, name="forêt", color="#1b7837"), LandClass(id=7, name="水", color="#0000ff"))
    ),
    shape=(1, 2, 256, 512),
    gsd_m=10.0,
    input_name="pixels",
    output_name="probabilities",
    output_meaning="softmax",
)
FILES = {name: ProductFile(sha256="12" * 32, bytes=9) for name in ("model.onnx", "model.xml", "model.bin", "model.pt2")}
WHEN = datetime(2026, 1, 2, tzinfo=UTC)


def test_a_catalog_reads_it_back() -> None:
    item = pystac.Item.from_dict(make_model_item(FACTS, FILES, created=WHEN))
    model: Any = MLMExtension.ext(item)
    (given,), (result,) = model.input, model.output
    assert (item.properties["mlm:name"], model.architecture, model.total_parameters) == ("land", "unet", 1234)
    assert (given.name, given.input.shape, given.bands) == ("pixels", [1, 2, 256, 512], ["red", "nir"])
    assert [(one["type"], one["mean"], one["stddev"]) for one in given.properties["value_scaling"]] == [
        ("z-score", 1000, 250),
        ("z-score", 3000, 500),
    ]
    assert result.result.shape == [1, 2, 256, 512]
    assert [one["value"] for one in result.properties["classification:classes"]] == [3, 7]
    assert item.properties["license"] == "CC-BY-4.0"
    models = [key for key, one in item.assets.items() if "mlm:model" in (one.roles or [])]
    assert models == ["onnx", "xml", "pt2"]
    assert all(item.assets[key].extra_fields["mlm:artifact_type"] for key in models)
    assert all(one.extra_fields["file:checksum"] == "1220" + "12" * 32 for one in item.assets.values())


def test_it_fits_the_schema_of_an_item() -> None:
    """The schemas that come with pystac; that of the extension would need a network."""
    jsonschema: Any = pytest.importorskip("jsonschema")
    referencing: Any = pytest.importorskip("referencing")
    from pystac.validation.local_validator import get_local_schema_cache

    schemas = get_local_schema_cache()
    known = [(uri, referencing.Resource.from_contents(one)) for uri, one in schemas.items()]
    (item_schema,) = (one for uri, one in schemas.items() if uri.endswith("/item.json"))
    validator = jsonschema.Draft7Validator(item_schema, registry=referencing.Registry().with_resources(known))
    document = make_model_item(replace(FACTS, description="x"), FILES, created=WHEN)
    assert [one.message for one in validator.iter_errors(document)] == []
    assert list(validator.iter_errors({**document, "links": None}))
