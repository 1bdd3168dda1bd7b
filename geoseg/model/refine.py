"""Class probabilities brought to the edges of the image by a fully connected CRF; which tiles is not decided here.

Kraehenbuehl, Koltun (2011), "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials",
arXiv:1210.5644: mean-field inference, Potts model, two Gaussian kernels. The kernels are filtered on a sparse lattice
with one cell per standard deviation: each pixel is spread over the corners of its simplex of a Freudenthal
triangulation, occupied cells are blurred with [1 2 1] / 4 along each axis, and gathered again.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from geoseg.pipeline import RefinementSection

Floats = npt.NDArray[np.float32]
_SMALLEST: Final = np.float32(1e-6)
"""Probabilities are not taken to be below it: their logarithm enters."""


def refine(values: Floats, tones: Floats, valid: npt.NDArray[np.bool_], *, section: RefinementSection) -> Floats:
    """Probabilities (classes, h, w) after mean-field inference; those of pixels that are not valid stay as they are.

    Args:
        values: probabilities (classes, h, w).
        tones: (up to 3, h, w), 0 … 255: what edges are seen in.
        valid: (h, w), True = observed. Only such pixels tell others of their class.
        section: weights and standard deviations of the kernels.
    """
    rows, columns = np.nonzero(valid)
    if not rows.size:
        return values
    place = np.stack([rows, columns], axis=1).astype(np.float32)
    colour = tones[:, rows, columns].T
    kernels = [
        (section.smoothness_weight, _Kernel(place / section.smoothness_px)),
        (
            section.appearance_weight,
            _Kernel(np.concatenate([place / section.appearance_px, colour / section.appearance_tone], axis=1)),
        ),
    ]
    logs = np.log(np.maximum(values[:, rows, columns].T, _SMALLEST))
    refined = values.copy()
    refined[:, rows, columns] = _infer(logs, kernels, iterations=section.iterations).T
    return refined


def _infer(logs: Floats, kernels: "Sequence[tuple[float, _Kernel]]", *, iterations: int) -> Floats:
    """Mean field: probabilities (pixels, classes) of log-probabilities and weighted kernels."""
    found = _softmax(logs)
    for _ in range(iterations):
        energy = logs.copy()
        for weight, kernel in kernels:
            energy += np.float32(weight) * kernel.filter(found)
        found = _softmax(energy)
    return found


def _softmax(energy: Floats) -> Floats:
    powers = np.exp(energy - energy.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


class _Kernel:
    """A Gaussian of standard deviation 1 in feature space, normalised symmetrically."""

    def __init__(self, features: Floats) -> None:
        """Features (pixels, axes) in standard deviations."""
        corners, weights, step = _corners(features)
        occupied, inverse = np.unique(corners, return_inverse=True)
        count, axes = corners.shape[0], features.shape[1]
        starts = np.arange(0, weights.size + 1, axes + 1, dtype=np.int32)
        shape = (count, len(occupied))
        self._gather = sparse.csr_array((weights.ravel(), inverse.ravel().astype(np.int32), starts), shape=shape)
        self._spread = self._gather.T.tocsr()
        self._blurs = [_blur(occupied, int(one)) for one in step]
        self._norm = np.ones((count, 1), np.float32)
        self._norm = 1 / np.sqrt(self.filter(self._norm) + np.float32(1e-20))

    def filter(self, values: Floats) -> Floats:
        """(pixels, channels) filtered."""
        cells = self._spread @ (self._norm * values)
        for blur in self._blurs:
            cells = blur @ cells
        filtered: Floats = np.asarray(self._norm * (self._gather @ cells))
        return filtered


def _corners(features: Floats) -> tuple[npt.NDArray[np.int64], Floats, npt.NDArray[np.int64]]:
    """(cell numbers (pixels, axes + 1) of the simplex around each pixel, their weights, steps of the axes)."""
    count, axes = features.shape
    shifted = features - np.floor(features.min(axis=0)) + 2  # a free cell on each side: steps never wrap around
    base = np.floor(shifted).astype(np.int64)
    inside = (shifted - base).astype(np.float32)
    extent = base.max(axis=0) + 4
    step = np.ones(axes, np.int64)
    step[:-1] = np.cumprod(extent[:0:-1])[::-1]
    order = np.argsort(-inside, axis=1, kind="stable")
    sorted_inside = np.take_along_axis(inside, order, axis=1)
    corners = np.empty((count, axes + 1), np.int64)
    corners[:, 0] = base @ step
    corners[:, 1:] = corners[:, :1] + np.cumsum(step[order], axis=1)
    bounds = np.concatenate([np.ones((count, 1), np.float32), sorted_inside, np.zeros((count, 1), np.float32)], axis=1)
    return corners, bounds[:, :-1] - bounds[:, 1:], step


def _blur(occupied: npt.NDArray[np.int64], step: int) -> "sparse.csr_array[np.float32]":
    """[1 2 1] / 4 along one axis, over the cells that exist."""
    rows, columns = [], []
    for neighbour in (-step, step):
        wanted = occupied + neighbour
        place = np.searchsorted(occupied, wanted).clip(max=len(occupied) - 1)
        there = occupied[place] == wanted
        rows.append(np.flatnonzero(there))
        columns.append(place[there])
    own = np.arange(len(occupied))
    row, column = np.concatenate([*rows, own]), np.concatenate([*columns, own])
    weight = np.where(row == column, np.float32(0.5), np.float32(0.25))
    blur: sparse.csr_array[np.float32] = sparse.coo_array((weight, (row, column)), shape=(own.size, own.size)).tocsr()
    return blur
