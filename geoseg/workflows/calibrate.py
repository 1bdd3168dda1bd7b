"""A bundle whose probabilities can be believed: the same weights with the temperature that fits a sample."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from geoseg.errors import InputError, ProductError
from geoseg.model.bundle import ModelBundle, pack_bundle
from geoseg.model.weights import read_state
from geoseg.training.reliability import FACTOR_MAX, Reliability, ScoredPixels, fit_temperature, rescore
from geoseg.workflows.evaluation_document import reliability_json

_CARD: Final = "MODEL_CARD.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The temperature that was found, and what it changes on the sample it was fitted to."""

    temperature: float
    before: Reliability
    after: Reliability

    def to_json(self) -> dict[str, Any]:
        """For evaluation.json and the metrics of the new bundle."""
        keys = ("pixels", "expected_calibration_error", "log_loss", "brier")
        before, after = reliability_json(self.before), reliability_json(self.after)
        return {
            "temperature": self.temperature,
            "before": {key: before[key] for key in keys},
            "after": {key: after[key] for key in keys},
        }


def calibrate(bundle: ModelBundle, sample: ScoredPixels) -> Calibration:
    """The temperature with which the sample is likeliest; Guo et al. 2017, On Calibration of Modern Neural Networks.

    Where tiles are blended, the blended probability is taken as if one tile had given it.

    Raises:
        InputError: labels and map have so little to do with each other that no temperature fits.
    """
    factor = fit_temperature(sample)
    if not 1.02 / FACTOR_MAX < factor < FACTOR_MAX / 1.02:
        raise InputError(
            f"no temperature fits (the best is beyond {factor:.3g} times that of the bundle): are these labels of its "
            "classes, and do they lie where the images are?"
        )
    return Calibration(
        temperature=float(f"{bundle.spec.temperature * factor:.6g}"),
        before=rescore(sample, 1.0),
        after=rescore(sample, factor),
    )


def check_new(folder: Path) -> None:
    """Whether a bundle may be written there.

    Raises:
        ProductError: something is there already, or it has no parent.
    """
    if folder.exists():
        raise ProductError(f"{folder} is there already: a calibrated bundle goes into a new folder, name another")
    if not folder.parent.is_dir():
        raise ProductError(f"{folder.parent} is no folder: make it first, or choose another place")


def write_calibrated(bundle: ModelBundle, found: Calibration, folder: Path, *, source: str) -> ModelBundle:
    """Packs the bundle anew: same weights, new temperature, a version of its own; its card is copied.

    Raises:
        BundleError: its weights cannot be read.
    """
    fields = bundle.spec.model_dump(mode="json", exclude={"weights_sha256"})
    calibration = {**found.to_json(), "source": source, "uncalibrated_sha256": bundle.sha256}
    fields |= {
        "temperature": found.temperature,
        "version": f"{bundle.spec.version.partition('+temperature-')[0]}+temperature-{found.temperature:g}",
        "metrics": {**fields["metrics"], "calibration": calibration},
    }
    packed = pack_bundle(folder, fields, read_state(bundle.weights))
    card = Path(bundle.path) / _CARD
    if card.is_file():
        shutil.copyfile(card, folder / _CARD)
    return packed
