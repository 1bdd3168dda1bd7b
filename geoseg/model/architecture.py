"""What the registry knows of a network before it is built; the networks themselves are in `zoo` and `library`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

ANY_ENCODER = "*"
"""Among the encoders of an architecture: any free encoder of smp, and any of timm as tu-<name>."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A family of networks with one name.

    The network it builds takes pixels (n, in_channels, h, w), h and w multiples of `divisor` and at least `min_size`,
    and gives logits (n, classes, h, w) of the same size, in training and in evaluation. One with auxiliary outputs
    has `forward_train(pixels) -> dict[str, Tensor]` besides, with the logits as `out`, and builds those heads only
    with the option `aux=True`.
    """

    name: str
    """What it is asked for by: `fcn8s`, `segformer_b0`."""
    title: str
    """As the literature calls it."""
    build: "Callable[..., nn.Module]"
    """Takes in_channels and classes, encoder where there are encoders, and options, all by keyword. Raises ValueError
    or TypeError where they are unfit."""
    source: str
    """The paper: authors, year, and its DOI or arXiv number."""
    licence: str
    """Of the code, with the library it is taken from: `Apache-2.0`, `MIT (segmentation-models-pytorch)`."""
    divisor: int
    """Tile sides and origins must be multiples of it."""
    min_size: int
    """Smallest tile side."""
    margin: int | None
    """Receptive field beyond an aligned block of `divisor` pixels, a multiple of it, with the default encoder and
    options; None: every output pixel depends on the whole tile."""
    encoders: tuple[str, ...] = ()
    """Encoders it can be built with; none: it has its own."""
    default_encoder: str | None = None
    extra: str | None = None
    """The extra of geoseg that it needs: `transformers`."""

    @property
    def is_global(self) -> bool:
        """True = every output pixel depends on the whole tile with the default encoder. False may still be global
        by another encoder (squeeze-excitation, attention): `margin.probe_margin` has the last word.
        """
        return self.margin is None
