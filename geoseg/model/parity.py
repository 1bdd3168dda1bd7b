"""Whether an exported network computes what its bundle does: read back from the file, run, compared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from geoseg.errors import BundleError

MAX_FLIPPED: Final = 0.001
"""Share of the pixels of an example whose class may be another."""
MAX_DIFFERENCE: Final = 0.01
"""Of a probability. Rounding in another order comes to about 1e-5."""

Pixels = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far two ways of computing are apart, at the worst of the examples."""

    max_difference: float
    """Largest difference of a probability; inf where one is not a number."""
    flipped_share: float
    """Share of the pixels whose class differs."""

    def check(self, what: str) -> None:
        """Raises BundleError where they differ by more than rounding does."""
        if self.flipped_share > MAX_FLIPPED or not self.max_difference <= MAX_DIFFERENCE:
            raise BundleError(
                f"{what} does not compute what the bundle does: probabilities differ by up to "
                f"{self.max_difference:.2g} and {self.flipped_share:.2%} of the classes ({MAX_DIFFERENCE} and "
                f"{MAX_FLIPPED:.1%} are allowed): choose another format"
            )


def compare(found: Sequence[Pixels], expected: Sequence[Pixels]) -> Parity:
    """Probabilities (n, classes, h, w) of each example against those expected."""
    difference, flipped = 0.0, 0.0
    for one, other in zip(found, expected, strict=True):
        if one.shape != other.shape:
            raise BundleError(f"{one.shape} comes out where {other.shape} is expected: choose another format")
        apart = np.abs(one.astype(np.float64) - other).max()
        difference = max(difference, float(apart)) if np.isfinite(apart) else float("inf")
        flipped = max(flipped, float((one.argmax(1) != other.argmax(1)).mean()))
    return Parity(max_difference=difference, flipped_share=flipped)


def measure_parity(file: Path, kind: str, examples: Sequence[Pixels], expected: Sequence[Pixels]) -> Parity:
    """Runs a file of the given format on the CPU, in float32.

    Args:
        file: model.onnx, model.pt2 or model.xml.
        kind: onnx, pt2 or openvino.
        examples: normalised pixels.
        expected: the bundle's probabilities of each.
    """
    run = _RUNNERS[kind](file)
    return compare([run(one) for one in examples], expected)


def _run_onnx(file: Path) -> Callable[[Pixels], Pixels]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (name,) = (one.name for one in session.get_inputs())

    def run(pixels: Pixels) -> Pixels:
        return np.asarray(session.run(None, {name: pixels})[0])

    return run


def _run_pt2(file: Path) -> Callable[[Pixels], Pixels]:
    network: Any = torch.export.load(file).module()

    def run(pixels: Pixels) -> Pixels:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(pixels)).numpy())

    return run


def _run_openvino(file: Path) -> Callable[[Pixels], Pixels]:
    import openvino

    # Without the hint a processor that has bfloat16 computes in it.
    network = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(pixels: Pixels) -> Pixels:
        return np.asarray(network([pixels])[0])

    return run


_RUNNERS: Final[Mapping[str, Callable[[Path], Callable[[Pixels], Pixels]]]] = {
    "onnx": _run_onnx,
    "pt2": _run_pt2,
    "openvino": _run_openvino,
}
