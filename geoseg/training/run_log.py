"""The figures of a run on their way from the device to its files; the files themselves are in `history`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geoseg.errors import SettingsError
from geoseg.training.config import TrainConfig
from geoseg.training.evaluate import Scores, figure_names
from geoseg.training.history import History, open_board, write_summary
from geoseg.training.learn import Row
from geoseg.training.ranks import Ranks
from geoseg.training.state import TrainingState


class RunLog:
    """Rows of steps, fetched from the device a few at a time, and the summary at the end."""

    def __init__(self, config: TrainConfig, *, ranks: Ranks, folder: Path | None) -> None:
        self._config, self._ranks = config, ranks
        self._folder = folder if ranks.is_first else None
        self._history: History | None = None
        self._pending: list[Row] = []

    def open(self, *, step: int, tensorboard: bool) -> None:
        """Goes on after a step: later rows are dropped.

        Raises:
            ResourceError: the folder cannot be written, or tensorboard is not installed.
        """
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            board = open_board(self._folder, step=step) if tensorboard else None
            self._history = History(self._folder, step=step, board=board)

    def add(self, row: Row) -> None:
        """Keeps a row until the next flush."""
        self._pending.append(row)

    def flush(self, scores: Scores | None, *, is_asked: bool, has_held: bool) -> tuple[float, bool]:
        """Writes the rows, the last of them with the scores; every process calls it at the same step.

        Returns:
            The mean loss of the rows, and whether any process is asked to stop.

        Raises:
            SettingsError: a loss is no number any more.
        """
        losses = [name for name in self._pending[0] if name.startswith("loss")]
        rows, is_asked = self._gather(losses, is_asked=is_asked)
        self._pending.clear()
        bad = [row for row in rows if not np.isfinite(row["loss"])]
        if bad:
            raise SettingsError(
                f"the loss is {bad[0]['loss']} at step {bad[0]['step']}: lower optimiser.learning_rate "
                f"({self._config.optimiser.learning_rate:g}) or compute in float32 (fit.precision)"
            )
        if scores is not None:
            rows[-1] |= scores.figures()
        if self._history is not None:
            held = figure_names(self._config.network.classes) if has_held else ()
            self._history.add(rows, columns=("step", "seconds", "learning_rate", "gradient_norm", *losses, *held))
        return float(np.mean([row["loss"] for row in rows])), is_asked

    def summarise(
        self, trained: TrainingState, *, state: str, ended: str, scores: Scores | None, identity: str
    ) -> None:
        """Writes training.json; `state` and `ended` as its schema says."""
        if self._folder is None:
            return
        config, watch = self._config, trained.watch
        best = {"metric": config.evaluation.metric, "value": watch.best, "step": watch.best_step}
        images = scores.images if scores else {}
        summary: Mapping[str, Any] = {
            "state": state,
            "ended": ended,
            "step": trained.step,
            "steps": config.fit.steps,
            "seconds": round(trained.seconds, 3),
            "best": best if watch.best is not None else None,
            "parameters": sum(one.numel() for one in trained.network.parameters()),
            "device": self._ranks.device,
            "ranks": self._ranks.count,
            "torch": torch.__version__,
            "identity": identity,
            "config": config.model_dump(mode="json"),
            "classes": [one.name for one in config.bundle.legend],
            "confusion": scores.confusion.counts.tolist() if scores else None,
            "images": [{"name": name, "confusion": one.counts.tolist()} for name, one in images.items()],
        }
        write_summary(self._folder, summary)

    def close(self) -> None:
        """No more will come."""
        if self._history is not None:
            self._history.close()

    def _gather(self, losses: list[str], *, is_asked: bool) -> tuple[list[dict[str, float]], bool]:
        """Rows with the losses of all processes summed."""
        values = [torch.stack([torch.as_tensor(row[name]) for name in losses]).double() for row in self._pending]
        request = torch.full_like(values[0], float(is_asked))
        sums = self._ranks.sum(torch.stack([*values, request])).cpu()
        rows = [{name: float(value) for name, value in row.items()} for row in self._pending]
        for row, summed in zip(rows, sums[:-1].tolist(), strict=True):
            row.update(zip(losses, summed, strict=True), step=int(row["step"]))
        return rows, bool(sums[-1, 0] > 0)
