"""What became of a scene: the record of a finished run (run.json), or why there is none; no heavy import."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

OUTPUT_VERSION: Final = 1
"""Raised when the same job would give other pixels or other files than before."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=200)]
"""A name inside the run's folder; never a path, so that a record cannot point out of its folder."""


class ProductFile(BaseModel):
    """A finished file of a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: Sha256 = Field(description="checksum of the file's bytes")
    bytes: int = Field(ge=0, description="size of the file")


class Facts(BaseModel):
    """What a reader of the figures must know of the scene and the model behind them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    level: str | None = Field(default=None, description="what the scene's pixel values mean")
    conversion: str | None = Field(default=None, description="what brought them to what the bundle takes")
    acquired: str | None = Field(default=None, description="when the scene was taken, ISO 8601")
    platform: str | None = Field(default=None, description="what took it")
    acquired_source: str | None = Field(default=None, description="where date and platform were found")
    aoi: str | None = Field(default=None, description="name of the file of the area of interest")
    bundle_licence: str | None = Field(default=None, description="licence of the model bundle")
    training_data: str | None = Field(default=None, description="what the bundle learned from")
    forest_definition: str | None = Field(default=None, description="what the bundle means by forest, where it says so")


class RunRecord(Facts):
    """run.json: what was made, from what, by what. It is written last; a folder without it is no product."""

    format: Literal["geoseg run 1", "geoseg change 1"] = Field(
        default="geoseg run 1", description="kind and version of this file: of a scene, or of two maps compared"
    )
    geoseg: str = Field(description="version of geoseg")
    scene: str = Field(description="name of the scene")
    fingerprint: str = Field(description="size and modification time of the scene's files")
    scene_sha256: Sha256 | None = Field(default=None, description="checksum of the scene, where it was computed")
    job: str = Field(description="names the work: pipeline, bundle, input and output version")
    pipeline: dict[str, JsonValue] = Field(description="the pipeline with everything resolved")
    pipeline_digest: str = Field(description="checksum of everything in the pipeline that may change a pixel")
    bundle: str = Field(description="name of the model bundle")
    bundle_sha256: str = Field(description="checksum of the model bundle")
    engine: str = Field(description="what computed the scores")
    precision: str = Field(description="number format of the network")
    device: str = Field(description="device that computed the scores")
    versions: dict[str, str] = Field(description="versions of the libraries that touch pixels")
    timings: dict[str, float] = Field(default_factory=dict, description="seconds by stage")
    peak_memory_bytes: int | None = Field(default=None, ge=0, description="largest resident size of the process")
    notes: tuple[str, ...] = Field(default=(), description="what the user was told")
    started: AwareDatetime = Field(description="when the run began")
    finished: AwareDatetime = Field(description="when its products were complete")
    areas: dict[str, JsonValue] = Field(default_factory=dict, description="the area report")
    change: dict[str, JsonValue] | None = Field(default=None, description="change.json, where two maps were compared")
    products: dict[FileName, ProductFile] = Field(default_factory=dict, description="the finished files by name")

    def with_products(self, products: dict[str, ProductFile]) -> "RunRecord":
        """This record with its list of finished files."""
        return self.model_validate({**self.model_dump(), "products": products})

    def to_text(self) -> str:
        """The text of run.json."""
        return self.model_dump_json(indent=1) + "\n"

    @classmethod
    def from_text(cls, text: str | bytes) -> "RunRecord":
        """The record in a run.json.

        Raises:
            ValueError: the text is not JSON, or not such a record.
        """
        return cls.model_validate_json(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The scene's products are complete."""

    out: str
    """The run's folder."""
    record: RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Nothing was to be done."""

    out: str
    """The folder that holds the finished products."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """No product was left."""

    scene: str
    error: str
    """Value, place and remedy, one line."""
    exit_code: int
    """What `geoseg run` would have exited with for this scene alone."""


Outcome = Done | Skipped | Failed
