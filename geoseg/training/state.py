"""Everything of a training run that a checkpoint holds: networks, optimiser, step, what evaluations came to."""

import copy
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.errors import ProductError, SettingsError
from geoseg.model.framed import Framed
from geoseg.model.registry import create_model
from geoseg.model.weights import Weights
from geoseg.training.checkpoint import Checkpoint, named
from geoseg.training.config import NetworkConfig, TrainConfig
from geoseg.training.optimise import Watch, make_optimiser


class TrainingState:
    """A run between two steps."""

    def __init__(self, config: TrainConfig, *, device: str) -> None:
        """Before the first step, with weights drawn from the seed or read from the config's file.

        Raises:
            SettingsError, BundleError, ResourceError: the network cannot be built, as `create_model` says.
        """
        torch.manual_seed(config.fit.seed)
        self.network = build_network(config.network).to(device)
        self.frozen = freeze(self.network, config.network.freeze)
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimiser = make_optimiser(self.network, config=config.optimiser)
        kind = torch.device(device).type
        self.scaler = torch.amp.GradScaler(kind, enabled=config.fit.precision == "float16")
        self.best: dict[str, Tensor] = {}
        """Averaged weights of the bare network at the best evaluation, on the CPU."""
        self.watch = Watch()
        self.step = 0
        self.seconds = 0.0

    def train(self) -> None:
        """Training mode, but for what is frozen."""
        self.network.train()
        for module in self.frozen:
            module.eval()

    def keep_best(self) -> None:
        """The averaged weights as they are now are the best."""
        self.best = {name: one.detach().cpu().clone() for name, one in self.average.bare.state_dict().items()}

    def snapshot(self, identity: str) -> Checkpoint:
        """All of it; `identity` says of which run."""
        tensors = named("network", self.network.bare.state_dict())
        tensors |= named("average", self.average.bare.state_dict()) | named("best", self.best)
        for index, values in self.optimiser.state_dict()["state"].items():
            kept = {name: one for name, one in values.items() if isinstance(one, Tensor)}
            tensors |= named(f"optimiser.{index}", kept)
        record = {"identity": identity, "step": self.step, "seconds": self.seconds}
        return Checkpoint(
            tensors=tensors, record=record | {"watch": asdict(self.watch), "scaler": self.scaler.state_dict()}
        )

    def restore(self, checkpoint: Checkpoint, *, identity: str, place: str) -> None:
        """Becomes the run the checkpoint is of.

        Raises:
            ProductError: it is of another run, or damaged.
        """
        record = checkpoint.record
        if record.get("identity") != identity:
            raise ProductError(
                f"{place} is of a run with another configuration, data or version: choose another folder, or delete it"
            )
        try:
            self.network.bare.load_state_dict(checkpoint.under("network"))
            self.average.bare.load_state_dict(checkpoint.under("average"))
            self._restore_optimiser(checkpoint.under("optimiser"))
            self.scaler.load_state_dict(record["scaler"])
            self.watch = Watch(**record["watch"])
            self.step, self.seconds = int(record["step"]), float(record["seconds"])
        except (RuntimeError, KeyError, TypeError, ValueError, IndexError) as error:
            reason = str(error).splitlines()[0]
            raise ProductError(f"{place} is damaged ({reason}): delete it to train from the start") from error
        self.best = checkpoint.under("best")

    def _restore_optimiser(self, tensors: Mapping[str, Tensor]) -> None:
        """With the strides of the parameters: arithmetic on others may round differently."""
        state = self.optimiser.state_dict()
        parameters = [one for group in self.optimiser.param_groups for one in group["params"]]
        values: dict[int, dict[str, Tensor]] = {}
        for name, one in tensors.items():
            index, _, key = name.partition(".")
            parameter = parameters[int(index)]
            like = torch.empty_like(parameter).copy_(one) if one.shape == parameter.shape else one
            values.setdefault(int(index), {})[key] = like if one.ndim else one
        self.optimiser.load_state_dict({**state, "state": values})


def build_network(config: NetworkConfig) -> Framed:
    """The network at its start, channels last; random weights follow torch's seed.

    Raises:
        SettingsError, BundleError, ResourceError: as `create_model`.
    """
    start = config.weights
    weights = Weights(**start.model_dump()) if start else None
    network = create_model(
        config.architecture,
        in_channels=config.in_channels,
        classes=config.classes,
        options=config.options,
        weights=weights,
    )
    channels_last: Any = torch.channels_last
    return network.to(memory_format=channels_last)


def freeze(network: Framed, prefixes: tuple[str, ...]) -> list[nn.Module]:
    """Parameters of the bare network whose name begins so are not trained; gives the modules that stay in eval mode.

    Raises:
        SettingsError: nothing is called so, or nothing is left to train.
    """
    for prefix in prefixes:
        found = [one for name, one in network.bare.named_parameters() if name.startswith(prefix)]
        if not found:
            tops = ", ".join(name for name, _ in network.bare.named_children())
            raise SettingsError(f"network.freeze: no parameter begins with {prefix!r}; the network has {tops}")
        for parameter in found:
            parameter.requires_grad_(False)
    if not any(one.requires_grad for one in network.parameters()):
        raise SettingsError(f"network.freeze {', '.join(prefixes)} leaves nothing to train: take one away")
    return [one for name, one in network.bare.named_modules() if name and name.startswith(prefixes)] if prefixes else []
