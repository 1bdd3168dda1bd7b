"""Small bundles with known or random weights, made at run time for the tests of any room."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from geoseg.model.bundle import ModelBundle, pack_bundle
from geoseg.model.registry import build_network, find_architecture

Kind = Literal["pointwise", "constant", "unet"]
COLORS = ("#000000", "#1b7837", "#2166ac", "#b2182b", "#fdae61", "#762a83")


def tiny_bundle(
    path: Path,
    kind: Kind | str = "pointwise",
    bands: Sequence[str] = ("red", "green", "blue"),
    classes: int = 2,
    level: str = "display8",
    *,
    seed: int = 0,
    state: Mapping[str, Any] | None = None,
    **fields: Any,
) -> ModelBundle:
    """A bundle of a small network in the folder `path`.

    Args:
        path: folder, made.
        kind: `pointwise`: 1 x 1 convolution, random weights. `constant`: zero weights, bias = log(1 … classes), so
            the probability of class k is (k + 1) / sum and the last class wins. `unet`: the own U-Net with four
            features, random weights. Any other: an architecture of the registry, e.g. `unet:resnet18`.
        bands: common names.
        classes: ids are 0 … classes - 1.
        level: display8 with uint8, any with any dtype, else uint16.
        seed: of the random weights.
        state: weights instead of random ones.
        fields: keys of bundle.yaml that replace the defaults.
    """
    architecture = "pointwise" if kind == "constant" else kind
    options = fields.get("options", {"init_features": 4} if kind == "unet" else {})
    torch.manual_seed(seed)
    if state is None:
        network = build_network(architecture, in_channels=len(bands), classes=classes, options=options)
        state = dict(network.state_dict())
    if kind == "constant":
        state = {"weight": np.zeros((classes, len(bands), 1, 1)), "bias": np.log(np.arange(1, classes + 1))}
    return pack_bundle(path, {**_fields(architecture, bands, classes, level), "options": options, **fields}, state)


def _fields(architecture: str, bands: Sequence[str], classes: int, level: str) -> Mapping[str, Any]:
    facts = find_architecture(architecture)
    margin = {"unet": 96, "pointwise": 0}.get(architecture)
    mean, std = (120.0, 60.0) if level == "display8" else (2000.0, 1500.0)
    return {
        "name": f"tiny-{architecture.replace(':', '-')}",
        "version": "1",
        "description": "made by a test",
        "architecture": architecture,
        "bands": [{"name": name, "mean": mean, "std": std} for name in bands],
        "level": level,
        "dtype": {"display8": "uint8", "any": "any"}.get(level, "uint16"),
        "gsd_m": 10.0,
        "gsd_min_m": 0.001,
        "gsd_max_m": 1e6,
        "legend": [{"id": k, "name": f"class {k}", "color": COLORS[k % len(COLORS)]} for k in range(classes)],
        "divisor": facts.divisor,
        "min_size": facts.min_size,
        "margin_tolerance": facts.divisor if margin is None else min(margin, 2 * facts.divisor if margin else 0),
        "margin_exact": margin,
        "licence": "CC0-1.0",
    }
