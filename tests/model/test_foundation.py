"""terratorch: one line without it, and what it is asked for (it needs Python 3.12 and 135 packages: a fake is here)."""

import importlib.util
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from geoseg.errors import ResourceError, SettingsError
from geoseg.model.registry import build_network, create_model, find_architecture

NAME = "terratorch:prithvi_eo_v2_300"


def test_without_terratorch_the_remedy_is_one_line() -> None:
    if importlib.util.find_spec("terratorch"):
        pytest.skip("terratorch is installed")
    with pytest.raises(
        ResourceError, match=r"needs Python >= 3\.12 and terratorch: pip install 'geoseg\[foundation\]'"
    ):
        build_network(NAME, in_channels=6, classes=2)
    assert find_architecture(NAME).extra == "foundation"


class Made(nn.Conv2d):
    """Gives its logits as terratorch does."""

    def forward(self, pixels: Tensor) -> Any:
        return SimpleNamespace(output=super().forward(pixels))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the fake factory was asked for."""
    calls: list[dict[str, Any]] = []

    class EncoderDecoderFactory:
        def build_model(self, **arguments: Any) -> nn.Module:
            calls.append(arguments)
            return Made(6, arguments["num_classes"], 1)

    models = ModuleType("terratorch.models")
    models.EncoderDecoderFactory = EncoderDecoderFactory  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "terratorch", ModuleType("terratorch"))
    monkeypatch.setitem(sys.modules, "terratorch.models", models)
    return calls


def test_its_output_is_unwrapped_and_nothing_is_downloaded_unless_asked(asked: list[dict[str, Any]]) -> None:
    network = create_model(NAME, in_channels=6, classes=3).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 6, 100, 260)).shape == (1, 3, 100, 260)
    assert asked[0]["backbone"] == "prithvi_eo_v2_300"
    assert asked[0]["backbone_pretrained"] is False
    assert asked[0]["backbone_in_chans"] == 6
    build_network(NAME, in_channels=6, classes=3, options={"encoder_weights": "hub", "bands": list("ABCDEF")})
    assert asked[1]["backbone_pretrained"] is True
    assert asked[1]["backbone_bands"] == list("ABCDEF")


def test_unfit_options_are_one_line() -> None:
    with pytest.raises(SettingsError, match="2 names in the option bands, and 6 bands"):
        build_network(NAME, in_channels=6, classes=3, options={"bands": ["RED", "GREEN"]})
    with pytest.raises(SettingsError, match=r"levels are \(1, 2\); there must be four"):
        build_network(NAME, in_channels=6, classes=3, options={"levels": (1, 2)})
