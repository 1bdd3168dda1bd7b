"""What is the same for every scene of a batch, resolved once: bundle, engine, precision; no scene is looked at."""

from dataclasses import dataclass
from pathlib import Path

from geoseg.config import Config
from geoseg.model.bundle import load_bundle
from geoseg.model.precision import resolve_engine
from geoseg.pipeline import Pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenPipeline:
    """A pipeline that means the same on every machine that can run it."""

    pipeline: Pipeline
    """Engine and precision are what will be used; a bundle's folder is absolute."""
    bundle: str
    bundle_sha256: str


def freeze_pipeline(pipeline: Pipeline, config: Config) -> FrozenPipeline:
    """Decides what a pipeline leaves to the machine, as this machine would.

    Raises:
        BundleError: the bundle is not there or damaged.
        ResourceError: the engine or device asked for is not here.
    """
    bundle = load_bundle(pipeline.model)
    engine = resolve_engine(
        pipeline.inference.engine, pipeline.inference.precision, config.device, architecture=bundle.spec.architecture
    )
    inference = pipeline.inference.model_copy(update={"engine": engine.engine, "precision": engine.precision})
    path = Path(pipeline.model)
    model = str(path.absolute()) if path.is_dir() else pipeline.model
    return FrozenPipeline(
        pipeline=pipeline.model_copy(update={"inference": inference, "model": model}),
        bundle=bundle.spec.name,
        bundle_sha256=bundle.sha256,
    )
