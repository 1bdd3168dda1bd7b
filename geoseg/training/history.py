"""What a training run leaves for readers: metrics.csv, training.json, TensorBoard events; checkpoints are elsewhere."""

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from geoseg.errors import ResourceError
from geoseg.training.checkpoint import move_into_place

METRICS: Final = "metrics.csv"
"""One row per step: step, seconds, learning_rate, gradient_norm (before clipping), loss (the weighted sum), loss_<part>
for each part and auxiliary output (before its weight); held_<figure> at the steps that were evaluated, else empty, as
is a figure that is not defined. Numbers are written so that reading gives them back exactly."""
SUMMARY: Final = "training.json"
"""How the run stands, written when it ends or is interrupted. Keys: `state` (complete, interrupted), `ended` (steps,
early stop, or the signal), `step`, `steps`, `seconds`, `best` (`metric`, `value`, `step`; null without held-out
images), `parameters`, `device`, `ranks`, `torch`, `identity` (sha256 of configuration and data), `config` (all of it),
`classes` (names by id), `confusion` (rows true, columns mapped, over all held-out images, of the weights that are kept)
and `images` (`name`, `confusion`; in the order given)."""


class Board(Protocol):
    """What a run tells of its figures besides the table; `torch.utils.tensorboard.SummaryWriter` is one."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """One figure at a step."""

    def close(self) -> None:
        """No more will come."""


class History:
    """The table of a run, one row a step; goes on after the last checkpoint's step."""

    def __init__(self, folder: Path, *, step: int, board: Board | None = None) -> None:
        """Opens metrics.csv and drops the rows after `step`.

        Raises:
            ResourceError: the folder cannot be written.
        """
        self._file = folder / METRICS
        self._board = board
        self._columns: tuple[str, ...] = ()
        self._cut(step)

    def add(self, rows: Iterable[Mapping[str, float]], *, columns: Sequence[str]) -> None:
        """Writes rows and flushes them to disk; a column a row lacks is empty in it.

        Raises:
            ResourceError: the disk is full.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not self._columns:
            self._columns = tuple(columns)
            writer.writerow(self._columns)
        for row in rows:
            writer.writerow([_cell(row.get(column)) for column in self._columns])
            self._show(row)
        try:
            with self._file.open("a", encoding="utf-8") as stream:
                stream.write(text.getvalue())
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise _unwritable(self._file, error) from error

    def close(self) -> None:
        """No more rows will come."""
        if self._board is not None:
            self._board.close()

    def _cut(self, step: int) -> None:
        """A crash may have left rows after the checkpoint, the last of them half written."""
        lines = self._file.read_text(encoding="utf-8").splitlines() if step and self._file.is_file() else []
        kept = lines[:1] + [line for line in lines[1:] if _step_of(line) <= step]
        self._columns = tuple(lines[0].split(",")) if lines else ()
        write_text(self._file, "".join(f"{line}\n" for line in kept))

    def _show(self, row: Mapping[str, float]) -> None:
        if self._board is None:
            return
        for name, value in row.items():
            if name not in ("step", "seconds") and not math.isnan(value):
                self._board.add_scalar(name.replace("_", "/", 1), value, int(row["step"]))


def open_board(folder: Path, *, step: int) -> Board:
    """TensorBoard's events in `folder`/tensorboard; those after `step` are hidden.

    Raises:
        ResourceError: tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ResourceError("tensorboard is not installed: pip install geoseg[tensorboard]") from error
    writer: Board = SummaryWriter(folder / "tensorboard", purge_step=step + 1)
    return writer


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Writes training.json.

    Raises:
        ResourceError: the folder cannot be written.
    """
    write_text(folder / SUMMARY, json.dumps(_plain(summary), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(file: Path, text: str) -> None:
    """Replaces a file by one that is whole.

    Raises:
        ResourceError: the folder cannot be written.
    """
    beside = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        beside.write_text(text, encoding="utf-8")
        move_into_place(beside, file)
    except OSError as error:
        raise _unwritable(file, error) from error
    finally:
        beside.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    """Without nan, which JSON has not."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else repr(value)


def _step_of(line: str) -> float:
    first = line.partition(",")[0]
    return int(first) if first.isdigit() else math.inf


def _unwritable(file: Path, error: OSError) -> ResourceError:
    reason = error.strerror or error
    return ResourceError(f"{file} cannot be written ({reason}): free space there or choose another place")
