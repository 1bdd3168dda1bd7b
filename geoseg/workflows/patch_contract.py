"""What a folder of patches was cut for: the part of a plan that its index carries; the files are `raster.patches`."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from geoseg.core.legend import LandClass, Legend
from geoseg.core.tiling import TilePlan, plan_tiles
from geoseg.errors import ProductError
from geoseg.model.bundle import Conversion, ModelBundle
from geoseg.outcome import Facts
from geoseg.pipeline import Pipeline
from geoseg.raster.patches import INDEX, PatchEntry, PatchIndex, name_masked, read_index, read_patch
from geoseg.raster.safety import plain

ScoreType = Literal["float32", "uint8"]


class PatchContract(BaseModel):
    """What was cut or scored, and for which job."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_name: Literal["geoseg/patches/1"] = "geoseg/patches/1"
    kind: Literal["pixels", "scores"]
    scene: str
    fingerprint: str
    job: str
    bands: tuple[str, ...]
    """Common names, in the order of the patches' bands."""
    dtype: str
    """numpy type of the patches' pixels."""
    pipeline: Pipeline
    """Resolved."""
    pipeline_digest: str
    divisor: int
    min_size: int
    bundle: str
    bundle_sha256: str
    conversion: Conversion | None
    facts: Facts = Facts()
    """What the finished product says of scene and model."""
    notes: tuple[str, ...]
    legend: tuple[LandClass, ...] | None = None
    """The classes of the scores' bands, in order."""
    scores: ScoreType | None = None
    device: str | None = None
    """What computed the scores."""

    @model_validator(mode="after")
    def _scores_say_what_they_are(self) -> Self:
        if (self.kind == "scores") != (self.legend is not None and self.scores is not None):
            raise ValueError("scores need a legend and a type, pixels have neither")
        return self

    @property
    def tag(self) -> str:
        """What every file of the folder says it belongs to."""
        return self.job if self.scores is None else f"{self.job}:{self.scores}"

    @property
    def result_job(self) -> str:
        """sha256 that names the stitched product: the job of the run, unless scores were rounded on the way."""
        return self.job if self.scores != "uint8" else hashlib.sha256(self.tag.encode()).hexdigest()

    def tiles(self, shape: tuple[int, int]) -> TilePlan:
        """The tile plan that the scene was cut by."""
        tiling = self.pipeline.tiling
        if not isinstance(tiling.margin, int):
            raise ValueError(f"its margin {tiling.margin!r} was never resolved")
        return plan_tiles(
            shape,
            tile=tiling.tile,
            margin=tiling.margin,
            ramp=tiling.ramp,
            divisor=self.divisor,
            window=tiling.window,
            min_size=self.min_size,
        )

    def check_bundle(self, bundle: ModelBundle) -> None:
        """Refuses another bundle than the one the patches were cut for.

        Raises:
            ProductError: the bundle differs.
        """
        if bundle.sha256 != self.bundle_sha256:
            raise ProductError(
                f"these patches were cut for bundle {self.bundle!r} (sha256 {self.bundle_sha256[:12]}…), "
                f"{bundle.spec.name!r} found at its place has {bundle.sha256[:12]}…: name the right folder with "
                "--model, or cut the scene again with `geoseg tile`"
            )

    def scored(self, legend: Legend, *, scores: ScoreType, device: str) -> "PatchContract":
        """The contract of the scores of these patches."""
        return self.model_copy(update={"kind": "scores", "legend": legend.classes, "scores": scores, "device": device})

    def with_notes(self, notes: Sequence[str]) -> "PatchContract":
        """The same with more notes."""
        return self.model_copy(update={"notes": (*self.notes, *notes)})


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSet:
    """A folder of patches or scores whose index was checked against its contract."""

    folder: Path
    contract: PatchContract
    index: PatchIndex
    tiles: TilePlan

    @property
    def legend(self) -> Legend:
        """The classes of the scores."""
        return Legend(classes=self.contract.legend or ())

    def read(self, entry: PatchEntry) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """(pixels or stored scores, valid) of a tile that has a file.

        Raises:
            ProductError: the file is missing, damaged or of another set.
        """
        is_scores = self.contract.kind == "scores"
        return read_patch(
            self.folder / str(entry.file),
            entry.window,
            grid=self.index.grid,
            bands=len(self.legend) if is_scores else len(self.contract.bands),
            dtype=str(self.contract.scores) if is_scores else self.contract.dtype,
            job=self.contract.tag,
        )

    def read_masked(self, entry: PatchEntry) -> npt.NDArray[np.bool_]:
        """(height, width), True where the scene was observed and an external mask excluded the pixel.

        Raises:
            ProductError: the file is missing, damaged or of another set.
        """
        if not entry.masked_pixels:
            return np.zeros(entry.window.shape, np.bool_)
        path = self.folder / name_masked(entry.window)
        pixels, _ = read_patch(path, entry.window, grid=self.index.grid, bands=1, dtype="uint8", job=self.contract.tag)
        masked: npt.NDArray[np.bool_] = pixels[0] != 0
        return masked


def check_patches(folder: Path, *, kind: Literal["pixels", "scores"]) -> PatchSet:
    """The patches or scores in a folder.

    Raises:
        ProductError: there are none or they are of the other kind, a file is missing, or the index does not hang
            together: its digest is not that of its pipeline, its tiles are not those of its plan.
    """
    place = f"{plain(folder.name)}/{INDEX}"
    index = read_index(folder)
    contract = _parse(index.about, place)
    if contract.kind != kind:
        verb, other = ("predict", "stitch") if kind == "pixels" else ("stitch", "predict")
        raise ProductError(f"{place} lists {contract.kind}, `geoseg {verb}` takes {kind}: use `geoseg {other}`")
    if contract.pipeline.digest() != contract.pipeline_digest:
        raise ProductError(
            f"{place}: its pipeline does not have the digest {contract.pipeline_digest[:12]}… that it states "
            "(another version of geoseg, or edited): cut the scene again with `geoseg tile`"
        )
    try:
        tiles = contract.tiles((int(index.grid.shape[0]), int(index.grid.shape[1])))
    except ValueError as error:
        raise ProductError(f"{place}: {error}: cut the scene again with `geoseg tile`") from error
    if tuple(entry.window for entry in index.entries) != tuple(tiles.tiles()):
        raise ProductError(f"{place} does not list the tiles of its plan, each once: cut the scene again")
    for entry in index.entries:
        for name in (entry.file, name_masked(entry.window) if entry.masked_pixels else None):
            if name is not None and not (folder / name).is_file():
                raise ProductError(f"{plain(folder.name)}/{name} is missing: its index names it; make the folder again")
    return PatchSet(folder=folder, contract=contract, index=index, tiles=tiles)


def _parse(about: Mapping[str, Any], place: str) -> PatchContract:
    try:
        return PatchContract.model_validate(about)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ProductError(f"{place}: {key}: {first['msg']}: cut the scene again with `geoseg tile`") from error
