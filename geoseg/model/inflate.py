"""A user's weights into a network of other bands or classes: convolutions inflated, heads left new; no files here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from geoseg.errors import BundleError

Bands = tuple[int, int, int]
Axes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A state dict for a network, and what was done to it."""

    state: dict[str, Tensor]
    notes: tuple[str, ...]
    """One line each; none: the file fitted as it was."""


def inflate_conv(weight: Tensor, in_channels: int, rgb: Bands | None = None) -> Tensor:
    """A convolution's weight (out, c, kh, kw) for another number of bands: (out, in_channels, kh, kw).

    Bands get the mean of the weights, those of `rgb` the weights of red, green and blue; all are scaled by
    c / in_channels, so that the sum over the bands, the answer to pixels that are equal in all bands, stays.

    Args:
        weight: of the trained network; c = 3 where `rgb` is given.
        in_channels: bands of the new network.
        rgb: positions of red, green and blue among them, from 0; None: no band is known to be any of them.

    Raises:
        ValueError: a position that is no band, or twice the same.
    """
    known = weight.shape[1]
    if rgb is not None:
        if known != 3:
            raise ValueError(f"rgb is for weights of 3 bands; these have {known}: leave it out")
        if len(set(rgb)) != 3 or not all(0 <= position < in_channels for position in rgb):
            raise ValueError(f"rgb {rgb} must be three different positions from 0 to {in_channels - 1}")
    elif in_channels == known:
        return weight.clone()
    inflated = weight.mean(dim=1, keepdim=True).repeat(1, in_channels, 1, 1)
    if rgb is not None:
        inflated[:, list(rgb)] = weight
    return inflated * (known / in_channels)


def changed_axes(network: nn.Module, other: nn.Module) -> Axes:
    """Where the state dicts of two builds of one network differ: name -> the axes of other lengths."""
    theirs = other.state_dict()
    found = {
        name: tuple(k for k, (one, two) in enumerate(zip(value.shape, theirs[name].shape, strict=True)) if one != two)
        for name, value in network.state_dict().items()
    }
    return {name: axes for name, axes in found.items() if axes}


def fit_bands(state: Mapping[str, Tensor], network: nn.Module, axes: Axes, *, rgb: Bands | None = None) -> Fitted:
    """Convolutions that take pixels, inflated where the file has another number of bands.

    What differs in another way is left as it is, for the loading to refuse.

    Args:
        state: from the file.
        network: that will get it.
        axes: those whose length depends on the number of bands.
        rgb: as `inflate_conv`.

    Raises:
        BundleError: `rgb` does not fit.
    """
    fitted, inflated = dict(state), []
    own = network.state_dict()
    for name in sorted(axes.keys() & state.keys()):
        given, wanted = state[name].shape, own[name].shape
        takes_pixels = axes[name] == (1,) and len(given) == 4 and (given[0], given[2:]) == (wanted[0], wanted[2:])
        if takes_pixels and (given != wanted or rgb is not None):
            try:
                fitted[name] = inflate_conv(state[name], wanted[1], rgb)
            except ValueError as error:
                raise BundleError(f"{name} cannot be inflated from {given[1]} bands to {wanted[1]}: {error}") from error
            inflated.append(f"{name} from {given[1]} bands to {wanted[1]}")
    return Fitted(state=fitted, notes=(f"inflated: {', '.join(inflated)}",) if inflated else ())


def fit_classes(
    state: Mapping[str, Tensor], network: nn.Module, axes: Axes, *, head: Literal["same", "new"], place: str
) -> Fitted:
    """The head of the file, or with `new` that of the network, as it is.

    Args:
        state: from the file.
        network: that will get it.
        axes: those whose length depends on the number of classes.
        head: `same`: the file's; `new`: the network's, whatever the file has.
        place: of the file, for messages.

    Raises:
        BundleError: another number of classes, where the head is to be the same.
    """
    own = network.state_dict()
    if head == "new":
        kept = {name: own[name] for name in axes}
        return Fitted(state={**state, **kept}, notes=(f"new head: {', '.join(sorted(axes))}",))
    for name in sorted(axes.keys() & state.keys()):
        for axis in axes[name]:
            given, wanted = state[name].shape[axis : axis + 1], own[name].shape[axis : axis + 1]
            if given != wanted:
                raise BundleError(
                    f"{place} is for other classes: {name} has {given.numel()} where the network has {wanted.numel()}; "
                    "ask for as many classes as it has, or for a new head (head: new)"
                )
    return Fitted(state=dict(state), notes=())
