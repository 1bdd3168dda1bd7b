"""Networks by name: the published sizes, the refusals, weights from the user's files only."""

import pickle
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from safetensors.torch import save_file

from geoseg.errors import BundleError, ResourceError, SettingsError
from geoseg.model.registry import create_model, find_architecture


def parameters(network: torch.nn.Module) -> int:
    return sum(one.numel() for one in network.parameters())


@pytest.mark.parametrize(
    ("architecture", "count"),
    [
        ("unet:resnet34", 24_436_514),
        ("unet:resnet18", 14_328_354),
        ("fpn:resnet34", 23_155_522),
        ("linknet:resnet34", 21_771_970),
        ("deeplabv3plus:resnet34", 22_437_714),
        ("unet:mobilenet_v2", 6_629_090),
        ("pointwise", 8),
    ],
)
def test_sizes_are_those_measured_on_the_libraries(architecture: str, count: int) -> None:
    assert parameters(create_model(architecture, in_channels=3, classes=2)) == count


def test_the_own_unet_has_the_published_size() -> None:
    assert parameters(create_model("unet", in_channels=3, classes=4)) == 31_037_828


@pytest.mark.parametrize("family", sorted(smp.MODEL_ARCHITECTURES_MAPPING))
def test_every_architecture_takes_its_smallest_tile_and_the_next(family: str) -> None:
    encoder = "tu-vit_tiny_patch16_224" if family == "dpt" else "resnet18"
    options = {"dynamic_img_size": True} if family == "dpt" else {}
    facts = find_architecture(f"{family}:{encoder}")
    network = create_model(f"{family}:{encoder}", in_channels=4, classes=3, options=options).eval()
    for side in (facts.min_size, facts.min_size + facts.divisor):
        with torch.inference_mode():
            assert network(torch.zeros(1, 4, side, side + facts.divisor)).shape == (1, 3, side, side + facts.divisor)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("unt", "architecture 'unt' is not known: nearest are unet"),
        ("unett:resnet18", "architecture 'unett' is not known: nearest are unet"),
        ("fpn", "architecture 'fpn' needs an encoder, e.g. fpn:resnet34"),
        ("unet:resnet19", "encoder 'resnet19' is not known: nearest are resnet"),
        ("unet:tu-convnext_tinny", "encoder 'tu-convnext_tinny' is not known: nearest are tu-convnext_tiny"),
        ("unet:mit_b0", "encoder 'mit_b0' is refused: .*non-commercial"),
        ("segformer:mobileone_s0", "encoder 'mobileone_s0' is refused: .*Apple"),
    ],
)
def test_names_that_are_unknown_or_not_free_are_refused(architecture: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        create_model(architecture, in_channels=3, classes=2)


@pytest.mark.parametrize("architecture", ["unet", "unet:resnet18"])
def test_an_unknown_option_is_named(architecture: str) -> None:
    with pytest.raises(SettingsError, match="initial_features"):
        create_model(architecture, in_channels=3, classes=2, options={"initial_features": 3})


@pytest.mark.parametrize("option", ["checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay"])
def test_options_that_load_files_are_refused(option: str) -> None:
    with pytest.raises(SettingsError, match=f"option '{option}' is refused"):
        create_model("unet:tu-resnet18", in_channels=3, classes=2, options={option: "/tmp/x.pt"})


def test_impossible_options_are_one_line() -> None:
    with pytest.raises(SettingsError, match="'unet': UNet init_features is 0"):
        create_model("unet", in_channels=3, classes=2, options={"init_features": 0})
    with pytest.raises(SettingsError, match="unet:resnet18 cannot be built with"):
        create_model("unet:resnet18", in_channels=3, classes=2, options={"encoder_depth": 9})


def test_unknown_encoder_weights_are_refused() -> None:
    with pytest.raises(SettingsError, match="zoo-net"):
        create_model("unet:resnet18", in_channels=3, classes=2, options={"encoder_weights": "zoo-net"})


def test_a_download_that_fails_is_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_args: object, **_named: object) -> None:
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", no_network)
    with pytest.raises(ResourceError, match="'imagenet' of unet:resnet18 could not be downloaded: leave"):
        create_model("unet:resnet18", in_channels=3, classes=2, options={"encoder_weights": "imagenet"})


def test_nothing_is_fetched_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetched(*_args: object, **_named: object) -> None:
        raise ConnectionError("fetched")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", fetched)
    create_model("unet:resnet18", in_channels=3, classes=2)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_come_from_a_file(suffix: str, tmp_path: Path) -> None:
    made = create_model("pointwise", in_channels=3, classes=2)
    file = tmp_path / f"w{suffix}"
    if suffix == ".pt":
        torch.save(made.bare.state_dict(), file)
    else:
        save_file(made.bare.state_dict(), file)
    read = create_model("pointwise", in_channels=3, classes=2, weights=file)
    assert all(torch.equal(one, two) for one, two in zip(made.parameters(), read.parameters(), strict=True))
    with pytest.raises(BundleError, match=r"is for other classes: bias has 2 where the network has 3"):
        create_model("pointwise", in_channels=3, classes=3, weights=file)
    with pytest.raises(BundleError, match=r"does not fit the architecture it is for: "):
        create_model("unet", in_channels=3, classes=2, options={"init_features": 2}, weights=file)


class Payload:
    """Would make a file if it were unpickled as usual."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


def test_code_in_a_pt_file_is_not_run(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    torch.save({"w": Payload(proof)}, tmp_path / "evil.pt")
    (tmp_path / "evil2.pt").write_bytes(pickle.dumps(Payload(proof), protocol=2))
    for name in ("evil.pt", "evil2.pt", "absent.pt", "absent.safetensors"):
        with pytest.raises(BundleError, match="holds no readable weights") as caught:
            create_model("pointwise", in_channels=3, classes=2, weights=tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not proof.exists()
