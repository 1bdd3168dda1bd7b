"""What a batch is to make of every scene, frozen in batch.json: the same for all its shards and every resumption."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from geoseg.batch.place import Place
from geoseg.errors import ProductError, SettingsError
from geoseg.outcome import Sha256
from geoseg.pipeline import Pipeline


class ZoneSource(BaseModel):
    """The polygons by which areas are told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(description="absolute")
    field: str | None = Field(default=None, description="the column that names them; null: the likeliest")
    layer: str | None = Field(default=None, description="null: the only one with polygons")
    sha256: Sha256 = Field(description="of their names and outlines")


class BatchJob(BaseModel):
    """batch.json. It is written last: a folder without it is no batch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["geoseg batch 1"] = Field(default="geoseg batch 1", description="kind and version of this file")
    geoseg: str = Field(description="version of geoseg that froze it")
    source: str = Field(description="where the scenes were found")
    scenes: int = Field(ge=1, description="how many there are")
    manifest_sha256: Sha256 = Field(description="checksum of manifest.parquet")
    pipeline: Pipeline = Field(description="what to make, with everything resolved that does not depend on the scene")
    bundle: str = Field(description="name of the model bundle")
    bundle_sha256: Sha256 = Field(description="checksum of the model bundle")
    output_version: int = Field(description="version of the products")
    block: int = Field(default=0, ge=0, description="scenes wider than this are done in parts; 0 = whole scenes")
    zones: ZoneSource | None = Field(default=None, description="polygons to measure areas by")
    allow_large: bool = Field(default=False, description="accept files that unpack to over 200 times their size")
    allow_remote: tuple[str, ...] = Field(default=(), description="hosts and buckets that may be read; *: any")
    versions: dict[str, str] = Field(default_factory=dict, description="versions of the libraries, where it was frozen")
    argv: tuple[str, ...] = Field(default=(), description="the command that froze it")
    created: AwareDatetime = Field(description="when")

    @property
    def settings(self) -> dict[str, JsonValue]:
        """What decides the products, apart from the scenes."""
        kept = {"bundle_sha256", "output_version", "allow_large", "source", "block"}
        zones = None if self.zones is None else self.zones.sha256
        remote = {"allow_remote": list(self.allow_remote)} if self.allow_remote else {}
        frozen = self.model_dump(mode="json", include=kept)
        return {**frozen, **remote, "zones": zones, "pipeline": deciding(self.pipeline)}

    @property
    def digest(self) -> str:
        """sha256 that names the work: ledgers and products of another digest are not this batch's."""
        content = {**self.settings, "manifest_sha256": self.manifest_sha256}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def deciding(pipeline: Pipeline) -> dict[str, JsonValue]:
    """What in a pipeline decides a product; where its bundle is does not, the bundle's checksum says which it is."""
    return pipeline.model_dump(mode="json", exclude={"name", "description", "model"})


def write_job(job: BatchJob, place: Place) -> None:
    """Writes batch.json, whole or not at all."""
    beside = place.out / f".batch.{os.getpid()}.tmp"
    with beside.open("w", encoding="utf-8") as stream:
        stream.write(job.model_dump_json(indent=1) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(place.job)


def read_job(out: Path) -> BatchJob:
    """The frozen job of a batch's folder.

    Raises:
        ProductError: there is none, or it is damaged.
    """
    path = Place(out=out).job
    try:
        return BatchJob.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ProductError(
            f"{out} holds no batch (no batch.json): make one with geoseg batch plan SOURCE OUT"
        ) from error
    except ValidationError as error:
        raise ProductError(f"{path} is damaged or of another version: plan the batch again in a new folder") from error


def check_same(frozen: BatchJob, wanted: Mapping[str, Any], out: Path) -> None:
    """Whether a command asks for what the batch was begun with.

    Args:
        frozen: of the folder.
        wanted: `settings` of what is asked for now.
        out: the folder, for the message.

    Raises:
        SettingsError: it does not; the message has every difference.
    """
    changes = list(_differences(frozen.settings, wanted))
    if changes:
        raise SettingsError(
            f"{out} was begun with other settings ({'; '.join(changes)}): take another folder for the new ones, or "
            f"leave the options out to go on: geoseg batch run {out}"
        )


def _differences(before: Any, now: Any, key: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()):
            yield from _differences(before.get(name), now.get(name), f"{key}.{name}" if key else name)
    elif before != now:
        yield f"{key}: {json.dumps(before)} -> {json.dumps(now)}"
