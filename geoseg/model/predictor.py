"""Patches in, class probabilities out, on one device. Which patches: `core`; what becomes of scores: `core` too."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geoseg.core.legend import Legend
from geoseg.core.patch import Patch, Scores
from geoseg.errors import ResourceError
from geoseg.model.appearance import find_appearance, to_tones
from geoseg.model.bundle import Conversion, ModelBundle
from geoseg.model.network import NetworkCache
from geoseg.model.refine import refine
from geoseg.pipeline import Engine, Precision, RefinementSection


class Predictor:
    """One network on one device. Not to be shared between threads, nor pickled: make one where it runs."""

    def __init__(  # noqa: PLR0913 - each is a decision of the plan
        self,
        bundle: ModelBundle,
        *,
        engine: Engine,
        precision: Precision,
        device: str,
        tile_shape: tuple[int, int],
        batch: int = 1,
        conversion: Conversion | None = None,
        refinement: RefinementSection = RefinementSection(),  # noqa: B008 - frozen
        threads: int = 0,
        networks: NetworkCache | None = None,
    ) -> None:
        """Load the network.

        Args:
            bundle: weights and contract.
            engine: as resolved (`precision.resolve_engine`), never auto.
            precision: as resolved.
            device: cpu or cuda:<number>, as resolved.
            tile_shape: (height, width) of every patch; multiples of the bundle's divisor.
            batch: tiles in one pass on CUDA; the CPU takes one at a time, so nothing depends on the company.
            conversion: what `bundle.check_scene` returned for the scene.
            refinement: what becomes of a tile's probabilities before they are blended.
            threads: of torch, for the whole process; 0: as it is.
            networks: where the network of the scene before may be.

        Raises:
            BundleError: the weights do not fit, or do not say what the refinement needs.
            ResourceError: no room on the device.
        """
        if threads > 0:
            torch.set_num_threads(threads)
        if any(side % bundle.spec.divisor or side < bundle.spec.min_size for side in tile_shape):
            raise ValueError(f"tile {tile_shape} does not suit divisor {bundle.spec.divisor}, {bundle.spec.min_size}")
        self.legend: Legend = bundle.legend
        self.notes: list[str] = []
        """What was done otherwise than planned, in words; for run.json."""
        self._spec = bundle.spec
        self._tile_shape = tile_shape
        self._batch = batch if engine == "torch-cuda" else 1
        self._device = torch.device(device)
        self._dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self._conversion = conversion
        self._refinement = refinement
        self._appearance = None if refinement.method == "none" else find_appearance(bundle.spec)
        self._network = (networks or NetworkCache()).prepare(bundle, precision=precision, device=device)
        self._gain, self._bias = self._normalisation()

    @property
    def classes(self) -> int:
        """Channels of the scores."""
        return len(self.legend)

    def predict(self, patches: Sequence[Patch]) -> list[Scores]:
        """The probabilities of each patch, in order; any number of patches, each of `tile_shape`.

        Raises:
            ResourceError: the device has no room for one tile.
        """
        for patch in patches:
            self._check(patch)
        scores: list[Scores] = []
        while len(scores) < len(patches):
            chosen = patches[len(scores) : len(scores) + self._batch]
            values = self._try(chosen)
            if values is None:
                self._halve_batch()
                continue
            scores += [
                Scores(window=patch.window, values=one, valid=patch.valid)
                for patch, one in zip(chosen, values, strict=True)
            ]
        return scores

    def _check(self, patch: Patch) -> None:
        expected = (self._spec.in_channels, *self._tile_shape)
        if patch.pixels.shape != expected or patch.valid.shape != self._tile_shape:
            raise ValueError(f"patch {patch.pixels.shape} (valid {patch.valid.shape}) is not {expected}")

    def _try(self, patches: Sequence[Patch]) -> list[npt.NDArray[np.float32]] | None:
        """`_run`, or None where memory ran out and a smaller batch may do."""
        try:
            return self._run(patches)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            if self._batch == 1:
                height, width = self._tile_shape
                raise ResourceError(
                    f"{self._device} has no room for one tile of {height} x {width} pixels: "
                    "--set tiling.tile to a smaller one"
                ) from error
            return None  # leaving here lets go of the failed pass, which the traceback holds on to

    def _run(self, patches: Sequence[Patch]) -> list[npt.NDArray[np.float32]]:
        raw = [patch.pixels for patch in patches]
        valid = [patch.valid for patch in patches]
        for _ in range(self._batch - len(patches)):  # the batch's shape never changes, nor the kernels with it
            raw.append(np.zeros_like(raw[0]))
            valid.append(np.zeros_like(valid[0]))
        with torch.inference_mode(), _exact(self._device):
            observed = torch.from_numpy(np.stack(valid)).to(self._device)
            pixels = self._normalise(_to_device(raw, self._device), observed)
            probabilities = [one.cpu().numpy() for one in self._forward(pixels)[: len(patches)]]
            if self._appearance is not None:
                seen = [to_tones(one.cpu().numpy(), self._appearance) for one in pixels[: len(patches)]]
                given = zip(probabilities, seen, valid[: len(patches)], strict=True)
                probabilities = [refine(*one, section=self._refinement) for one in given]
        return [np.ascontiguousarray(one) for one in probabilities]

    def _forward(self, pixels: Tensor) -> Tensor:
        """Probabilities (n, classes, h, w) in float32 of normalised pixels."""
        pixels = pixels.to(dtype=self._dtype, memory_format=torch.channels_last)
        logits = self._network(pixels).float()
        return torch.softmax(logits / self._spec.temperature, dim=1).contiguous()

    def _normalise(self, raw: Tensor, observed: Tensor) -> Tensor:
        """(physical - mean) / std in float32, (n, bands, h, w); its band's mean where nothing was observed."""
        if self._conversion is not None:
            raw = _convert(raw, self._conversion)
        pixels = raw.to(self._gain.dtype).mul(self._gain).add_(self._bias)
        keep = observed[:, None] & torch.isfinite(pixels)
        return torch.where(keep, pixels, 0.0)

    def _normalisation(self) -> tuple[Tensor, Tensor]:
        """(gain, bias) of x = raw * gain + bias, each (bands, 1, 1), worked out in float64."""
        bands = self._spec.bands
        gain = np.array([band.scale / band.std for band in bands])
        bias = np.array([(band.offset - band.mean) / band.std for band in bands])
        first, second = (
            torch.tensor(one, dtype=torch.float32, device=self._device)[:, None, None] for one in (gain, bias)
        )
        return first, second

    def _halve_batch(self) -> None:
        before, self._batch = self._batch, self._batch // 2
        self.notes.append(f"{self._device} ran out of memory: batch halved from {before} to {self._batch}")
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _is_out_of_memory(error: Exception) -> bool:
    """Whether the device, or the machine, had no room; torch has no type of its own for the latter."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "DefaultCPUAllocator" in str(error)


@contextlib.contextmanager
def _exact(device: torch.device) -> Iterator[None]:
    """On CUDA: float32 convolutions as float32 (not TF32), and algorithms that always give the same."""
    if device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


def _to_device(raw: list[npt.NDArray[Any]], device: torch.device) -> Tensor:
    """(n, bands, h, w) numbers on the device; they travel in the dtype of the scene."""
    stacked = np.stack(raw)
    stacked = stacked.astype(stacked.dtype.newbyteorder("="), copy=False)
    if stacked.dtype == np.uint16:  # torch computes little in uint16: the bits travel as int16
        return torch.from_numpy(stacked.view(np.int16)).to(device).to(torch.int32).bitwise_and_(0xFFFF)
    if stacked.dtype == np.uint32:
        return torch.from_numpy(stacked.view(np.int32)).to(device).to(torch.int64).bitwise_and_(0xFFFFFFFF)
    return torch.from_numpy(stacked).to(device)


def _convert(raw: Tensor, conversion: Conversion) -> Tensor:
    """The bundle's declared conversion, in float64 so that rounding falls the same everywhere."""
    values = raw.to(torch.float64).mul(conversion.scale).add_(conversion.offset)
    if conversion.clip_min is not None or conversion.clip_max is not None:
        values = values.clamp(min=conversion.clip_min, max=conversion.clip_max)
    return values.round_() if conversion.round else values
