"""A bundle's network made ready for one device: loaded, folded, cast. What goes through it is `predictor`."""

import copy
from typing import cast

import torch
from torch import Tensor, nn

from geoseg.errors import BundleError, ResourceError, SettingsError
from geoseg.model.bundle import ModelBundle
from geoseg.model.fold import fold_batch_norm
from geoseg.model.registry import build_network
from geoseg.model.weights import load_state, read_state
from geoseg.pipeline import Precision


def load_network(bundle: ModelBundle) -> nn.Module:
    """The network of a bundle with its weights: float32, eval mode, on the CPU.

    Raises:
        BundleError: the architecture cannot be built, or the weights do not fit it.
    """
    spec = bundle.spec
    options = {name: value for name, value in spec.options.items() if name != "encoder_weights"}  # nothing is fetched
    try:
        network = build_network(
            spec.architecture, in_channels=spec.in_channels, classes=len(spec.legend), options=options
        )
    except SettingsError as error:
        raise BundleError(f"bundle {spec.name!r} in {bundle.path}: {error}") from error
    load_state(network, read_state(bundle.weights), place=str(bundle.weights))
    return network.eval().requires_grad_(False)


def prepare_network(bundle: ModelBundle, *, precision: Precision, device: str) -> nn.Module:
    """The network as it computes fastest with the same classes: BatchNorm folded, channels_last, cast.

    With bf16 a convolution that is the last layer stays float32, so that close logits are not rounded to equal ones.

    Raises:
        BundleError: as `load_network`.
        ResourceError: the device has no room for the weights.
    """
    spec = bundle.spec
    side = spec.min_size if spec.min_size >= 64 else -(-64 // spec.divisor) * spec.divisor
    example = torch.randn(1, spec.in_channels, side, side, generator=torch.Generator().manual_seed(0))
    plain = load_network(bundle)
    try:
        network, _ = fold_batch_norm(plain, example)
        with torch.inference_mode():
            shape = tuple(network(example).shape)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0][:200]
        raise BundleError(
            f"bundle {spec.name!r}: {spec.architecture} cannot take a tile of {side} pixels ({reason}): "
            f"min_size {spec.min_size} or divisor {spec.divisor} is wrong"
        ) from error
    if shape != (1, len(spec.legend), side, side):
        raise BundleError(
            f"bundle {spec.name!r}: {spec.architecture} gives {shape[1:]} for a tile of {side} pixels and "
            f"{len(spec.legend)} classes: it is no network that gives one value per class and pixel"
        )
    if precision == "bf16":
        network = _to_bf16(network, example)
    try:
        return network.to(device=torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"{device} has no room for the weights of bundle {spec.name!r}: use another device"
        ) from error


class NetworkCache:
    """The network that was prepared last, for a process that does one scene after another; not for several threads.

    A network holds no state of a scene, so it may serve many. There is never more than one.
    """

    def __init__(self) -> None:
        self._key: tuple[str, Precision, str] | None = None
        self._network: nn.Module | None = None

    def prepare(self, bundle: ModelBundle, *, precision: Precision, device: str) -> nn.Module:
        """As `prepare_network`, which is called when anything differs from the last time."""
        key = (bundle.sha256, precision, device)
        if self._network is None or key != self._key:
            self._network = None  # its memory first
            self._network = prepare_network(bundle, precision=precision, device=device)
            self._key = key
        return self._network


class _Float32(nn.Module):
    """A layer that computes in float32 whatever comes in."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.layer(features.float()))


def _to_bf16(network: nn.Module, example: Tensor) -> nn.Module:
    last = _last_layer(network, example)
    if last is None:
        return network.to(torch.bfloat16)
    head = _Float32(copy.deepcopy(network.get_submodule(last)))
    if not last:
        return head
    network = network.to(torch.bfloat16)
    parent, _, name = last.rpartition(".")
    setattr(network.get_submodule(parent), name, head)
    return network


def _last_layer(network: nn.Module, example: Tensor) -> str | None:
    """Name of the layer that runs last, "" = the network itself; None: it is no convolution.

    Only layers with weights count. After a convolution that is not the last of them would come layers in bfloat16,
    which take no float32.
    """
    ran: list[tuple[str, nn.Module]] = []
    handles = [
        module.register_forward_hook(lambda one, _i, _o, n=name: ran.append((n, one)))
        for name, module in network.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    try:
        with torch.inference_mode():
            network(example)
    finally:
        for handle in handles:
            handle.remove()
    if not ran or not isinstance(ran[-1][1], nn.Conv2d | nn.ConvTranspose2d):
        return None
    return ran[-1][0]
