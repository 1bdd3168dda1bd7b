"""A training run small enough for a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from geoseg.training.config import TrainConfig, load_train_config

SHIPPED = Path(__file__).parents[2] / "configs" / "train" / "forest-s2-rgb.yaml"


@pytest.fixture(scope="session")
def shipped_config() -> TrainConfig:
    """The training run of the shipped bundle."""
    return load_train_config(SHIPPED)


@pytest.fixture(scope="session")
def small_config(shipped_config: TrainConfig) -> TrainConfig:
    """the same, tiny: 8 features, 32-pixel windows, one procedural scene."""
    fit = {"steps": 30, "batch": 2, "window_px": 32, "precision": "float32"}
    update = {
        "network": shipped_config.network.model_copy(update={"options": {"init_features": 8}}),
        "fit": shipped_config.fit.model_copy(update=fit),
        "optimiser": shipped_config.optimiser.model_copy(update={"learning_rate": 0.01}),
        "procedural": shipped_config.procedural.model_copy(update={"seeds": (1000,), "size_px": 512}),
        "clouds": shipped_config.clouds.model_copy(update={"images": ("north",)}),
        "augment": shipped_config.augment.model_copy(update={"zoom": 0.0}),
    }
    return shipped_config.model_copy(update=update)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks are slower on several threads, most of all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
