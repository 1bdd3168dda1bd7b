"""How a scene ended: the record of a finished run, which is what run.json holds. No heavy import."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class ProductFile(BaseModel):
    """One file of a product, as it was published."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of the file's bytes")
    bytes: int = Field(ge=0, description="size of the file")


class RunRecord(BaseModel):
    """What made a product and what it holds; written last, so a folder with it is complete."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_name: Literal["geoseg/run/1"] = Field(default="geoseg/run/1", alias="schema", description="of this file")
    geoseg: str = Field(description="version of geoseg")
    scene: str = Field(description="name of the scene")
    fingerprint: str = Field(description="sha256 over path, size and modification time of the scene's files")
    job: str = Field(description="sha256 of pipeline, bundle, input and output version: names the product")
    pipeline: dict[str, Any] = Field(description="the pipeline, with every `auto` resolved")
    pipeline_digest: str = Field(description="sha256 of what in the pipeline may change a pixel")
    bundle: str = Field(description="name of the model bundle")
    bundle_sha256: str = Field(description="sha256 of the bundle")
    engine: str = Field(description="torch-cpu or torch-cuda")
    precision: str = Field(description="fp32 or bf16")
    device: str = Field(description="cpu or cuda:<number>")
    versions: dict[str, str] = Field(description="of geoseg, Python, GDAL and the libraries that touch pixels")
    timings: dict[str, float] = Field(description="seconds by stage")
    peak_memory_bytes: int = Field(ge=0, description="largest resident size of the process")
    notes: tuple[str, ...] = Field(default=(), description="what the user was told, one line each")
    started: datetime = Field(description="UTC")
    finished: datetime = Field(description="UTC")
    areas: dict[str, Any] = Field(description="the content of areas.json")
    products: dict[str, ProductFile] = Field(default_factory=dict, description="file name -> size and sha256")

    def to_json(self) -> dict[str, Any]:
        """The document of run.json."""
        return self.model_dump(mode="json", by_alias=True)
