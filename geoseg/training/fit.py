"""The training loop: batches in, weights out; a stopped run goes on as if it had never been stopped."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from geoseg.core.patch_source import LabelledImage
from geoseg.errors import InterruptedRun, SettingsError
from geoseg.model.framed import Framed
from geoseg.training.checkpoint import BEST, LAST, Checkpoint, read_checkpoint, write_checkpoint
from geoseg.training.config import TrainConfig
from geoseg.training.dataset import Batch, Supply
from geoseg.training.evaluate import Scores, evaluate
from geoseg.training.feed import feed
from geoseg.training.interrupt import StopRequest, stop_requests
from geoseg.training.learn import Learner
from geoseg.training.ranks import Ranks, check_parts
from geoseg.training.run_log import RunLog
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
    """The averaged network with the weights to keep, in eval mode, on the device."""
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
    return _Run(config, held=held, setting=setting or Setting(), report=report).to_end(supply)


class _Run:
    """A training run at work."""

    def __init__(self, config: TrainConfig, *, held: Sequence[LabelledImage], setting: Setting, report: Report) -> None:
        check_settings(config, ranks=setting.ranks)
        self.config, self.held, self.setting, self.report = config, held, setting, report
        self.state = TrainingState(config, device=setting.ranks.device)
        self.scores: Scores | None = None
        self.log = RunLog(config, ranks=setting.ranks, folder=setting.folder)
        self._resume()
        self.learner = Learner(config, self.state, ranks=setting.ranks)

    def to_end(self, supply: Supply) -> Trained:
        """Steps until they are done, evaluations are no better any more, or a signal came."""
        config, state, ranks = self.config, self.state, self.setting.ranks
        steps = range(state.step + 1, config.fit.steps + 1)
        try:
            with stop_requests() as stop:
                batches = feed(
                    supply, steps=steps, parts=ranks.parts(config.fit.accumulate), workers=self.setting.workers
                )
                while state.step < config.fit.steps and not self._is_over():
                    self._advance(batches, stop)
            return self._finish()
        finally:
            self.log.close()

    def _advance(self, batches: Iterator[Batch], stop: StopRequest) -> None:
        """One step, and what is due after it."""
        config, state, start = self.config, self.state, time.monotonic()
        row = self.learner.step(batches)
        is_last = state.step == config.fit.steps
        is_due = bool(self.held) and (is_last or state.step % config.evaluation.every == 0)
        scores = self._evaluate() if is_due else None
        state.seconds += time.monotonic() - start
        self.log.add({**row, "seconds": state.seconds})
        is_saved = is_last or state.step % config.fit.checkpoint_every == 0 or self._is_over()
        is_asked = stop.name is not None and self.setting.ranks.count == 1
        if is_saved or is_due or is_asked or state.step % _FLUSH_EVERY == 0:
            is_asked = self._flush(scores, stop)
            if is_saved or is_asked:
                self._save()
            if is_asked and not is_last:
                raise self._interrupted(stop.name or "a signal to another process")

    def _flush(self, scores: Scores | None, stop: StopRequest) -> bool:
        """Writes and reports the steps since the last time; whether to stop, which all processes agree on."""
        loss, is_asked = self.log.flush(scores, is_asked=stop.name is not None, has_held=bool(self.held))
        self.report(Progress(step=self.state.step, loss=loss, scores=scores, seconds=self.state.seconds))
        return is_asked

    def _evaluate(self) -> Scores:
        config, state = self.config, self.state
        scores = evaluate(state.average, self.held, config=config.network, ranks=self.setting.ranks)
        value = scores.value(config.evaluation.metric)
        state.watch = state.watch.after(value, step=state.step, schedule=config.schedule)
        if state.watch.best_step == state.step or not state.best:
            state.keep_best()
            self.scores = scores
        return scores

    def _is_over(self) -> bool:
        return self.state.watch.is_over(self.config.evaluation)

    def _resume(self) -> None:
        """Goes on with what is in the folder, and opens it for writing."""
        folder, state = self.setting.folder, self.state
        if folder is not None and (folder / LAST).is_file():
            checkpoint = read_checkpoint(folder / LAST)
            state.restore(checkpoint, identity=self.setting.identity, place=str(folder / LAST))
        self.log.open(step=state.step, tensorboard=self.setting.tensorboard)

    def _save(self) -> None:
        folder, state = self.setting.folder, self.state
        if folder is None or not self.setting.ranks.is_first:
            return
        write_checkpoint(folder / LAST, state.snapshot(self.setting.identity))
        if state.best:
            write_checkpoint(folder / BEST, Checkpoint(tensors=state.best, record={"step": state.watch.best_step}))

    def _finish(self) -> Trained:
        """The weights to keep, scored."""
        config, state, ranks = self.config, self.state, self.setting.ranks
        if config.evaluation.keep == "best" and state.best:
            state.average.bare.load_state_dict(state.best)
        scores = evaluate(state.average, self.held, config=config.network, ranks=ranks) if self.held else None
        ended: Ended = "steps" if state.step == config.fit.steps else "early stop"
        self.log.summarise(state, state="complete", ended=ended, scores=scores, identity=self.setting.identity)
        return Trained(network=state.average, scores=scores, step=state.step, ended=ended)

    def _interrupted(self, cause: str) -> InterruptedRun:
        setting, state = self.setting, self.state
        self.log.summarise(state, state="interrupted", ended=cause, scores=self.scores, identity=setting.identity)
        kept = f"the same command goes on from there ({setting.folder})" if setting.folder else "nothing was kept of it"
        return InterruptedRun(f"stopped by {cause} after step {state.step}: {kept}")


def check_settings(config: TrainConfig, *, ranks: Ranks) -> None:
    """Settings that need each other and the device.

    Raises:
        SettingsError: they do not fit.
    """
    check_parts(config.fit.accumulate, ranks=ranks)
    if config.fit.precision == "float16" and ranks.device == "cpu":
        raise SettingsError("fit.precision float16 needs a CUDA device: take bfloat16 or float32 on a CPU")
