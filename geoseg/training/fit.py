"""The training loop: batches in, weights out; a stopped run goes on as if it had never been stopped."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from geoseg.core.patch_source import IGNORE, LabelledImage
from geoseg.errors import InputError, InterruptedRun, ResourceError, SettingsError
from geoseg.model.framed import Framed
from geoseg.training.checkpoint import BEST, LAST, Checkpoint, read_checkpoint, write_checkpoint
from geoseg.training.config import TrainConfig
from geoseg.training.dataset import Batch, Supply
from geoseg.training.evaluate import Scores, evaluate, figure_names, normalise
from geoseg.training.feed import feed
from geoseg.training.history import History, open_board, write_summary
from geoseg.training.interrupt import StopRequest, stop_requests
from geoseg.training.objective import Objective
from geoseg.training.optimise import average_decay, average_into, rate_factor
from geoseg.training.ranks import Ranks, check_parts
from geoseg.training.state import TrainingState

Ended: TypeAlias = Literal["steps", "early stop"]
_FLUSH_EVERY = 10
"""Steps whose losses are fetched from the device together, and between which processes agree to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a training run is."""

    step: int
    """Steps done, from 1."""
    loss: float
    """Mean over the steps since the last report."""
    scores: Scores | None
    """On the held-out images, where they were just evaluated."""
    seconds: float
    """Since the start, interruptions not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where a run computes and keeps its files."""

    folder: Path | None = None
    """For checkpoints and figures, made if missing; a run found there goes on. None: nothing is written."""
    identity: str = ""
    """Of configuration and data; a run of another identity is not gone on with."""
    ranks: Ranks = field(default_factory=Ranks)
    workers: int = 0
    """Processes that make batches ahead; 0: they are made when they are needed."""
    tensorboard: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A run that came to its end."""

    network: Framed
    """The averaged network with the weights to keep, in eval mode, on the CPU."""
    scores: Scores | None
    """Of these weights on the held-out images."""
    step: int
    ended: Ended


Report: TypeAlias = Callable[[Progress], None]


def train_network(
    config: TrainConfig,
    supply: Supply,
    *,
    held: Sequence[LabelledImage] = (),
    setting: Setting | None = None,
    report: Report = lambda progress: None,
) -> Trained:
    """Trains, from the start or from the checkpoint in the setting's folder.

    On a CPU with the same number of threads a run that was stopped or killed gives the same losses and weights, bit
    for bit, as one that was not.

    Raises:
        InterruptedRun: SIGINT or SIGTERM came; the checkpoint is written.
        SettingsError: settings that do not fit each other, or a loss that is no number any more.
        ProductError: the folder holds another run.
    """
    return _Run(config, supply, held=held, setting=setting or Setting(), report=report).to_end()


class _Run:
    """A training run at work."""

    def __init__(
        self,
        config: TrainConfig,
        supply: Supply,
        *,
        held: Sequence[LabelledImage],
        setting: Setting,
        report: Report,
    ) -> None:
        check_settings(config, ranks=setting.ranks)
        self.config, self.supply, self.held = config, supply, held
        self.setting, self.ranks, self.report = setting, setting.ranks, report
        self.state = TrainingState(config, device=self.ranks.device)
        self.objective = Objective(parts=config.losses, aux_weight=config.fit.aux_weight)
        self.pending: list[dict[str, Tensor | float]] = []
        self.columns: tuple[str, ...] = ()
        self.scores: Scores | None = None
        self.history: History | None = None
        self._resume()
        self.outputs = _Outputs(self.state.network)
        self.parallel: nn.Module = self.outputs
        if self.ranks.count > 1:
            self.parallel = DistributedDataParallel(self.outputs, broadcast_buffers=False, find_unused_parameters=True)

    def to_end(self) -> Trained:
        """Steps until they are done, evaluations are no better any more, or a signal came."""
        config, state = self.config, self.state
        batches = feed(
            self.supply,
            steps=range(state.step + 1, config.fit.steps + 1),
            parts=self.ranks.parts(config.fit.accumulate),
            workers=self.setting.workers,
        )
        try:
            with stop_requests() as stop:
                while state.step < config.fit.steps and not self._is_over():
                    self._advance(batches, stop)
            return self._finish()
        finally:
            if self.history is not None:
                self.history.close()

    def _advance(self, batches: Iterator[Batch], stop: StopRequest) -> None:
        """One step, and what is due after it."""
        config, state, start = self.config, self.state, time.monotonic()
        row = self._step(batches)
        state.step += 1
        row["step"] = state.step
        average_into(state.average, state.network, decay=average_decay(state.step, decay=config.fit.average_decay))
        last = state.step == config.fit.steps
        scores = self._evaluate() if self.held and (last or state.step % config.evaluation.every == 0) else None
        state.seconds += time.monotonic() - start
        row["seconds"] = state.seconds
        self.pending.append(row)
        is_saved = last or state.step % config.fit.checkpoint_every == 0 or self._is_over()
        if is_saved or scores or state.step % _FLUSH_EVERY == 0 or (stop.name and self.ranks.count == 1):
            asked = self._flush(scores, stop)
            if is_saved or asked:
                self._save()
            if asked and not last:
                raise self._interrupted(stop.name or "a signal to another process")

    def _step(self, batches: Iterator[Batch]) -> dict[str, Tensor | float]:
        """One optimiser step; gives its figures, tensors for those that are still on the device."""
        config, state = self.config, self.state
        factor = rate_factor(state.step + 1, steps=config.fit.steps, config=config.schedule)
        rate = config.optimiser.learning_rate * factor * state.watch.rate
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        state.train()
        state.optimiser.zero_grad(set_to_none=True)
        parts = self.ranks.parts(config.fit.accumulate)
        sums: dict[str, Tensor] = {}
        for part in parts:
            with self._apart(part != parts[-1]):
                losses = self._learn_from(next(batches), part, share=1 / len(parts))
            for name, value in losses.items():
                sums[name] = sums.get(name, 0) + value / config.fit.accumulate
        state.scaler.unscale_(state.optimiser)
        limit = config.optimiser.clip_norm or float("inf")
        norm = nn.utils.clip_grad_norm_(state.network.parameters(), max_norm=limit)
        state.scaler.step(state.optimiser)
        state.scaler.update()
        self.ranks.mean_statistics(state.network)
        return {"learning_rate": rate, "gradient_norm": norm.detach(), **sums}

    def _learn_from(self, batch: Batch, part: int, *, share: float) -> dict[str, Tensor]:
        """Adds the gradients of one batch; gives its losses by column."""
        config, device = self.config, self.ranks.device
        _check_labels(batch, classes=config.network.classes)
        torch.manual_seed(_torch_seed(config.fit.seed, self.state.step + 1, part))
        pixels = normalise(batch.pixels, config=config.network, device=device)
        precision = getattr(torch, config.fit.precision)
        with (
            _explained(batch, config.network.architecture, device),
            torch.autocast(torch.device(device).type, precision, enabled=config.fit.precision != "float32"),
        ):
            outputs = self.parallel(pixels)
        loss = self.objective(outputs, torch.from_numpy(batch.labels).to(device))
        self.state.scaler.scale(loss.total * share).backward()  # type: ignore[no-untyped-call]
        return {"loss": loss.total.detach()} | {f"loss_{name}": value for name, value in loss.parts.items()}

    def _apart(self, is_apart: bool) -> AbstractContextManager[Any]:
        """Gradients are exchanged once per step, with its last batch."""
        parallel = self.parallel
        return parallel.no_sync() if is_apart and isinstance(parallel, DistributedDataParallel) else nullcontext()

    def _evaluate(self) -> Scores:
        config, state = self.config, self.state
        scores = evaluate(state.average, self.held, config=config.network, ranks=self.ranks)
        value = scores.value(config.evaluation.metric)
        state.watch = state.watch.after(value, step=state.step, schedule=config.schedule)
        if state.watch.best_step == state.step or not state.best:
            state.keep_best()
            self.scores = scores
        return scores

    def _flush(self, scores: Scores | None, stop: StopRequest) -> bool:
        """Writes and reports the steps since the last time; whether to stop, which all processes agree on.

        Raises:
            SettingsError: a loss is no number any more.
        """
        rows, asked = self._gather(stop)
        bad = [row for row in rows if not np.isfinite(row["loss"])]
        if bad:
            raise SettingsError(
                f"the loss is {bad[0]['loss']} at step {bad[0]['step']:.0f}: lower optimiser.learning_rate "
                f"({self.config.optimiser.learning_rate:g}) or compute in float32 (fit.precision)"
            )
        if scores is not None:
            rows[-1] |= scores.figures()
        if self.history is not None and rows:
            held = figure_names(self.config.network.classes) if self.held else ()
            self.history.add(rows, columns=(*self.columns, *held))
        self.pending.clear()
        mean = float(np.mean([row["loss"] for row in rows]))
        self.report(Progress(step=self.state.step, loss=mean, scores=scores, seconds=self.state.seconds))
        return asked

    def _gather(self, stop: StopRequest) -> tuple[list[dict[str, float]], bool]:
        """Rows with the losses of all processes summed, and whether any of them was asked to stop."""
        losses = [name for name in self.pending[0] if name.startswith("loss")]
        self.columns = ("step", "seconds", "learning_rate", "gradient_norm", *losses)
        values = [torch.stack([torch.as_tensor(row[name]) for name in losses]) for row in self.pending]
        request = torch.full((1, len(losses)), float(stop.name is not None), device=values[0].device)
        sums = self.ranks.sum(torch.cat([torch.stack(values).double(), request.double()])).cpu()
        rows = [{name: float(value) for name, value in row.items()} for row in self.pending]
        for row, summed in zip(rows, sums[:-1].tolist(), strict=True):
            row.update(zip(losses, summed, strict=True), step=int(row["step"]))
        return rows, bool(sums[-1, 0] > 0)

    def _is_over(self) -> bool:
        return self.state.watch.is_over(self.config.evaluation)

    def _resume(self) -> None:
        """Goes on with what is in the folder, and opens it for writing."""
        folder, state = self.setting.folder, self.state
        if folder is None:
            return
        if (folder / LAST).is_file():
            checkpoint = read_checkpoint(folder / LAST)
            state.restore(checkpoint, identity=self.setting.identity, place=str(folder / LAST))
        if self.ranks.is_first:
            folder.mkdir(parents=True, exist_ok=True)
            board = open_board(folder, step=state.step) if self.setting.tensorboard else None
            self.history = History(folder, step=state.step, board=board)

    def _save(self) -> None:
        folder, state = self.setting.folder, self.state
        if folder is None or not self.ranks.is_first:
            return
        write_checkpoint(folder / LAST, state.snapshot(self.setting.identity))
        if state.best:
            write_checkpoint(folder / BEST, Checkpoint(tensors=state.best, record={"step": state.watch.best_step}))

    def _finish(self) -> Trained:
        """The weights to keep, scored."""
        config, state = self.config, self.state
        if config.evaluation.keep == "best" and state.best:
            state.average.bare.load_state_dict(state.best)
        scores = evaluate(state.average, self.held, config=config.network, ranks=self.ranks) if self.held else None
        ended: Ended = "steps" if state.step == config.fit.steps else "early stop"
        self._summarise(state="complete", ended=ended, scores=scores)
        return Trained(network=state.average.cpu(), scores=scores, step=state.step, ended=ended)

    def _interrupted(self, cause: str) -> InterruptedRun:
        self._summarise(state="interrupted", ended=cause, scores=self.scores)
        step, folder = self.state.step, self.setting.folder
        kept = f"the same command goes on from there ({folder})" if folder else "nothing was kept of it"
        return InterruptedRun(f"stopped by {cause} after step {step}: {kept}")

    def _summarise(self, *, state: str, ended: str, scores: Scores | None) -> None:
        folder, config, watch = self.setting.folder, self.config, self.state.watch
        if folder is None or not self.ranks.is_first:
            return
        best = {"metric": config.evaluation.metric, "value": watch.best, "step": watch.best_step}
        summary = {
            "state": state,
            "ended": ended,
            "step": self.state.step,
            "steps": config.fit.steps,
            "seconds": round(self.state.seconds, 3),
            "best": best if watch.best is not None else None,
            "parameters": sum(one.numel() for one in self.state.network.parameters()),
            "device": self.ranks.device,
            "ranks": self.ranks.count,
            "torch": torch.__version__,
            "identity": self.setting.identity,
            "config": config.model_dump(mode="json"),
            "classes": [one.name for one in config.bundle.legend],
            "confusion": scores.confusion.counts.tolist() if scores else None,
            "images": [{"name": name, "confusion": one.counts.tolist()} for name, one in scores.images.items()]
            if scores
            else [],
        }
        write_summary(folder, summary)


class _Outputs(nn.Module):
    """All outputs of a network by `forward`, which is what wrappers of torch call."""

    def __init__(self, network: Framed) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        return self.network.forward_train(pixels)


def check_settings(config: TrainConfig, *, ranks: Ranks) -> None:
    """Settings that need each other and the device.

    Raises:
        SettingsError: they do not fit.
    """
    check_parts(config.fit.accumulate, ranks=ranks)
    if config.fit.precision == "float16" and ranks.device == "cpu":
        raise SettingsError("fit.precision float16 needs a CUDA device: take bfloat16 or float32 on a CPU")


def _check_labels(batch: Batch, *, classes: int) -> None:
    highest = int(np.where(batch.labels == IGNORE, 0, batch.labels).max())
    if highest >= classes:
        raise InputError(f"a training label is {highest}: there are {classes} classes, ids from 0, and 255 = ignored")


@contextmanager
def _explained(batch: Batch, architecture: str, device: str) -> Iterator[None]:
    """What a network says of windows it cannot take, in one line."""
    count, _, height, width = batch.pixels.shape
    what = f"{count} windows of {height} x {width} pixels"
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"{device} has no room for {what}: lower fit.batch and raise fit.accumulate, or lower fit.window_px"
        ) from error
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise SettingsError(
            f"{architecture} cannot be trained on {what} ({reason}): raise fit.batch or fit.window_px"
        ) from error


def _torch_seed(seed: int, step: int, part: int) -> int:
    return int(np.random.SeedSequence((seed, step, part)).generate_state(1, np.uint64)[0])
