"""A reduced instance of every architecture of the registry, for the tests that go over all of them."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduced:
    """How an architecture is built small, with its layers as they are wired."""

    name: str
    """With an encoder where it takes one."""
    options: dict[str, Any] = field(default_factory=dict)
    aux: bool = False
    """True: it has auxiliary outputs in training."""
    first: bool = False
    """True: it stands for its family in the quick tests."""
    declared: bool = False
    """True: it is not smaller where margins are concerned, so that the margin is the registry's."""
    needs: str | None = None
    """A module that it cannot do without."""


_VIT = "tu-vit_tiny_patch16_224"
_SMALL_VGG = {"width": 1 / 16}
REDUCED = (
    Reduced(name="unet", options={"init_features": 12}, first=True),
    Reduced(name="pointwise", first=True),
    Reduced(name="deeplabv1:vgg11", options={**_SMALL_VGG, "fov_channels": 16}, first=True),
    Reduced(name="deeplabv2:resnet14", options={}),
    Reduced(name="deeplabv3plus_conv:resnet14", options={"channels": 16}, first=True),
    Reduced(name="fastfcn:resnet14", options={"width": 16}, aux=True, first=True),
    Reduced(name="fcn_resnet50", aux=True, first=True, declared=True),
    Reduced(name="fcn_resnet101", aux=True, declared=True),
    Reduced(name="bisenetv1", aux=True, first=True),
    Reduced(name="bisenetv2", options={"head_features": 32}, aux=True, first=True),
    Reduced(name="dfanet_a", first=True),
    Reduced(name="espnet", options={"q": 2}, first=True),
    Reduced(name="espnet_c", options={"q": 2}),
    Reduced(name="espnetv2", options={"s": 0.5}, aux=True, first=True),
    Reduced(name="fast_scnn", aux=True, first=True),
    *(
        Reduced(name=f"fc_densenet{n}", options={"growth_rate": 4, "init_features": 8}, first=n == 56)
        for n in (56, 67, 103)
    ),
    *(Reduced(name=f"fcn{n}s:vgg11", options=_SMALL_VGG, first=n == 8) for n in (32, 16, 8, 4, 2)),
    *(Reduced(name=f"fcn{n}s_orig:vgg11", options=_SMALL_VGG, first=n == 8) for n in (32, 16, 8)),
    Reduced(name="gscnn:resnet14", options={"channels": 16}, first=True),
    Reduced(name="liteseg:mobilenet_v2", first=True),
    *(Reduced(name=f"segformer_b{n}", first=n == 0) for n in range(6)),
    *(
        Reduced(name=f"setr_{head}:{_VIT}", options={"image_size": 64}, aux=True, first=head == "pup")
        for head in ("naive", "pup", "mla")
    ),
    Reduced(name="unet_valid", options={"init_features": 12}, first=True),
    Reduced(name="swin_unet", options={"width": 32, "depths": [1, 1, 1, 1]}, first=True),
    Reduced(name="transunet", options={"image_size": 64, "width": 64, "depth": 1}, first=True),
    Reduced(name="transunet_vit", options={"image_size": 64, "width": 64, "depth": 1}),
    Reduced(name=f"upernet_vit:{_VIT}", options={"width": 16}, first=True),
    Reduced(
        name="mask2former",
        options={"queries": 8, "width": 32, "depths": [1, 1, 1, 1]},
        first=True,
        needs="transformers",
    ),
    Reduced(name="unet:resnet18", first=True),
    Reduced(name="unetplusplus:resnet18"),
    Reduced(name="manet:resnet18"),
    Reduced(name="linknet:resnet18"),
    Reduced(name="fpn:resnet18"),
    Reduced(name="pspnet:resnet18"),
    Reduced(name="deeplabv3:resnet18"),
    Reduced(name="deeplabv3plus:resnet18"),
    Reduced(name="pan:resnet18"),
    Reduced(name="upernet:resnet18"),
    Reduced(name="segformer:resnet18"),
    Reduced(name=f"dpt:{_VIT}"),
)
"""Of terratorch's backbones none: they need an extra, Python 3.12 and weights; see tests/model/test_foundation.py."""
