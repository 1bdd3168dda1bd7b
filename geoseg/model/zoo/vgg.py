"""VGG features for the families that start with them (FCN, DeepLab v1); no classifier here.

Simonyan, Zisserman (2015), arXiv:1409.1556, configurations A, B, D, E.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

from torch import Tensor, nn

from geoseg.model.inflate import Bands, inflate_conv
from geoseg.model.zoo.blocks import check_channels

_CONFIGURATIONS: Final = {"vgg11": "A", "vgg13": "B", "vgg16": "D", "vgg19": "E"}
VGGS: Final = tuple(_CONFIGURATIONS)


def vgg_features(encoder: str, *, in_channels: int, width: float = 1.0) -> nn.Sequential:
    """3 x 3 convolutions, ReLU and five poolings, numbered as torchvision's `features`.

    Args:
        encoder: one of `VGGS`.
        in_channels: bands.
        width: channels of every layer relative to the paper's.

    Raises:
        ValueError: an unknown encoder, or a count below 1.
    """
    from torchvision.models.vgg import cfgs, make_layers

    if encoder not in _CONFIGURATIONS:
        raise ValueError(f"encoder is {encoder!r}; it must be one of {', '.join(VGGS)}")
    check_channels(in_channels=in_channels)
    if round(64 * width) < 1:
        raise ValueError(f"width is {width}; it must be at least 1/64")
    channels = [one if one == "M" else round(one * width) for one in cfgs[_CONFIGURATIONS[encoder]]]
    features = cast(nn.Sequential, make_layers(channels))
    features[0] = nn.Conv2d(in_channels, cast(int, channels[0]), kernel_size=3, padding=1)
    return features


def pooled(features: nn.Sequential, pixels: Tensor) -> list[Tensor]:
    """What each of the five poolings gives, shallow to deep: strides 2, 4, 8, 16, 32 where they halve."""
    levels: list[Tensor] = []
    level = pixels
    for layer in features:
        level = layer(level)
        if isinstance(layer, nn.MaxPool2d):
            levels.append(level)
    return levels


def load_features(features: nn.Sequential, state: Mapping[str, Tensor], *, rgb: Bands | None = None) -> None:
    """Loads the `features.` of a torchvision VGG's state dict, with or without its classifier.

    The first convolution is inflated to the bands of `features`; `rgb`: positions of red, green and blue in them.

    Raises:
        RuntimeError: shapes or names differ (of torch).
        ValueError: `rgb` does not fit.
    """
    prefix = "features."
    own = {key.removeprefix(prefix): one for key, one in state.items() if key.startswith(prefix)}
    first = cast(nn.Conv2d, features[0])
    if "0.weight" in own:
        own["0.weight"] = inflate_conv(own["0.weight"], first.in_channels, rgb)
    features.load_state_dict(own)


def load_hidden(layers: Sequence[nn.Conv2d], state: Mapping[str, Tensor]) -> None:
    """Loads the two hidden layers of a torchvision VGG's classifier as convolutions of 7 x 7 and 1 x 1, if it has them.

    Raises:
        RuntimeError: shapes differ (of torch).
    """
    for layer, key in zip(layers, ("classifier.0", "classifier.3"), strict=True):
        if f"{key}.weight" in state:
            weight = state[f"{key}.weight"].reshape(layer.weight.shape)
            layer.load_state_dict({"weight": weight, "bias": state[f"{key}.bias"]})
