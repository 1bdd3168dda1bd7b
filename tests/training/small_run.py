"""One small run as its own process, for tests that kill it or start several: small_run.py CONFIG FOLDER [SECONDS]."""

import json
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from geoseg.core.patch_source import LabelledImage
from geoseg.training.config import TrainConfig, load_train_config
from geoseg.training.dataset import Batch, Mixture, MixtureSupply
from geoseg.training.fit import Setting, train_network
from geoseg.training.ranks import join_ranks


def image(name: str, *, seed: int, bands: int = 3, side: int = 64) -> LabelledImage:
    """Two classes in blocks, bright and dark, with noise and an ignored corner."""
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 2, (side // 16, side // 16)), np.ones((16, 16))).astype(np.uint8)
    base = np.where(labels == 1, 30, 75)[None] + 6 * np.arange(bands)[:, None, None]
    pixels = (base + rng.normal(0, 8, (bands, side, side))).clip(1, 255).astype(np.uint8)
    labels[:5, :5] = 255
    return LabelledImage(name=name, pixels=pixels, labels=labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowSupply:
    """Takes its time, so that a test can kill it at work."""

    inner: MixtureSupply
    seconds: float

    def batch(self, step: int, part: int) -> Batch:
        """See `Supply`."""
        time.sleep(self.seconds)
        return self.inner.batch(step, part)


def run(config: TrainConfig, folder: Path, *, setting: Setting, seconds: float = 0) -> None:
    """Trains on two images and holds one out; the weights go to `kept.npz`, the scores to `scores.json`."""
    bands = config.network.in_channels
    images = [image("a", seed=1, bands=bands), image("b", seed=2, bands=bands)]
    inner = MixtureSupply(mixture=Mixture(tiles=images, procedural=(), procedural_share=0), config=config)
    held = [image("held", seed=3, bands=bands), image("held too", seed=4, bands=bands)]
    trained = train_network(
        config,
        SlowSupply(inner=inner, seconds=seconds),
        held=held,
        setting=replace(setting, folder=folder, identity="small"),
    )
    if setting.ranks.is_first and trained.scores is not None:
        weights = {name: one.numpy() for name, one in trained.network.bare.state_dict().items()}
        np.savez(folder / "kept.npz", **weights)
        (folder / "scores.json").write_text(json.dumps(trained.scores.confusion.counts.tolist()))


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with join_ranks("cpu") as ranks:
        run(
            load_train_config(Path(sys.argv[1])),
            Path(sys.argv[2]),
            setting=Setting(ranks=ranks),
            seconds=float(sys.argv[3]) if len(sys.argv) > 3 else 0,
        )
