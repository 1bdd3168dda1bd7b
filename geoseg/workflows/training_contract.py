"""What a bundle says of a training run: bands, legend, ground pixel, data, tones; figures and margins are `fit`'s."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from geoseg.core.patch_source import LabelledImage
from geoseg.model.appearance import TONES, principal_appearance
from geoseg.model.registry import find_architecture
from geoseg.model.spec import Appearance, BandSpec, BundleSpec, TrainingData, validate_spec
from geoseg.training.config import TrainConfig
from geoseg.training.ground import Views

_NO_SHA: Final = "0" * 64


def bundle_fields(config: TrainConfig, *, inputs: Mapping[str, str]) -> dict[str, Any]:
    """What bundle.yaml says, but for margins, metrics and the weights' hash."""
    bundle, network = config.bundle, config.network
    architecture = find_architecture(network.architecture)
    ones, zeros = (1.0,) * network.in_channels, (0.0,) * network.in_channels
    columns = (bundle.bands, bundle.scale or ones, bundle.offset or zeros, network.mean, network.std)
    keys = ("name", "scale", "offset", "mean", "std")
    bands = [BandSpec.model_validate(dict(zip(keys, row, strict=True))) for row in zip(*columns, strict=True)]
    divisor = architecture.divisor
    return {
        "name": config.name,
        "version": bundle.version,
        "description": bundle.description,
        "architecture": network.architecture,
        "options": packed_options(config),
        "bands": [band.model_dump() for band in bands],
        "level": bundle.level,
        "dtype": bundle.dtype,
        "conversions": [one.model_dump() for one in bundle.conversions],
        "gsd_m": bundle.gsd_m,
        "gsd_min_m": bundle.gsd_min_m,
        "gsd_max_m": bundle.gsd_max_m,
        "legend": [one.model_dump() for one in bundle.legend],
        "divisor": divisor,
        "min_size": -(-architecture.min_size // divisor) * divisor,
        "licence": bundle.licence,
        "training_data": TrainingData(
            description=bundle.data_description,
            attribution=bundle.attribution,
            licence_status=bundle.licence_status,
            inputs=dict(inputs),
            procedural_seeds=config.procedural.seeds,
        ).model_dump(),
        "forest_definition": bundle.forest_definition,
    }


def input_contract(config: TrainConfig) -> BundleSpec:
    """What the bundle will accept, before it is there: a scene to train on must be one that it will take."""
    fields = bundle_fields(config, inputs={}) | {"margin_tolerance": 0, "weights_sha256": _NO_SHA}
    return validate_spec(fields, place=f"the bundle of {config.name}")


def find_tones(config: TrainConfig, images: Sequence[LabelledImage]) -> Appearance | None:
    """How the CRF sees an image of these bands; None for a display image, which is seen as it is, and for tiles."""
    bundle, network = config.bundle, config.network
    is_display = bundle.level == "display8" and bundle.dtype == "uint8" and network.in_channels <= TONES
    if is_display or not isinstance(images, Views):
        return None
    moments = images.measure()
    seen = principal_appearance(moments.normalised_covariance(std=network.std))
    shift = (moments.mean - np.asarray(network.mean)) / np.asarray(network.std)
    offsets = np.asarray(seen.offsets) - np.asarray(seen.weights) @ shift
    return seen.model_copy(update={"offsets": tuple(float(one) for one in offsets)})


def packed_options(config: TrainConfig) -> dict[str, Any]:
    """Heads that help training only are not packed, and nothing is downloaded by a bundle."""
    return {name: value for name, value in config.network.options.items() if name not in ("aux", "encoder_weights")}
