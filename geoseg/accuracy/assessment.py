"""What a labelled sample says of a map: accuracy and error-adjusted area by class. Its files: `assessment_text`.

F1 is the ratio of twice the agreement to the mapped plus the true area, so its standard error is the ratio
estimator's, which is the delta method's.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from geoseg.accuracy.design import SampleDesign, Stratum
from geoseg.accuracy.estimate import (
    Estimate,
    SampleTable,
    estimate_mean,
    estimate_ratio,
    producers_score_limits,
    score_limits,
    users_score_limits,
    z_of,
)
from geoseg.accuracy.response import Responses
from geoseg.errors import ProductError, SettingsError

FEW_OMISSIONS: Final = 10
"""Points of omission, or of commission, below which Wald's interval of an area is too narrow
(benchmarks/coverage.py)."""
FEW_POINTS: Final = 30
"""Points in a mapped class below which its user's accuracy is not to be relied on (Olofsson et al. 2014: 50-100)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAccuracy:
    """One class of the map."""

    id: int
    name: str
    mapped_m2: float
    """In the population that was sampled."""
    area: Estimate
    """Square metres, from the reference sample; SE NaN if no point has the class."""
    score_m2: tuple[float, float]
    """Limits of the area from Wilson's intervals, which hold for rare classes too."""
    users: Estimate | None
    """None: no point lies in the mapped class."""
    users_score: tuple[float, float] | None
    """Its limits from Wilson's interval; None where the strata are not the map's classes too."""
    producers: Estimate | None
    """None: no reference point has the class."""
    producers_score: tuple[float, float] | None
    """Its limits from Wilson's intervals; None where the strata are not the map's classes too."""
    f1: Estimate | None
    n_map: int
    n_reference: int
    omitted: int
    """Points of the class that the map gives to another."""

    @property
    def committed(self) -> int:
        """Points of the mapped class that are another."""
        return self.n_map - (self.n_reference - self.omitted)

    @property
    def area_interval(self) -> Literal["wald", "score"]:
        """Which interval of the area is to be given: Wald's is too narrow where few points make its variance.

        Errors of both directions move the area, and in a map of two classes one class's omission is the other's
        commission, so that the rarer of the two decides.
        """
        few = min(self.omitted, self.committed) < FEW_OMISSIONS
        return "score" if few or not math.isfinite(self.area.se) else "wald"

    @property
    def flags(self) -> tuple[str, ...]:
        """What makes the intervals doubtful."""
        return tuple(_flags(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """A map's accuracy with all that it rests on."""

    design: SampleDesign
    responses: Responses
    reference: str
    """Name of the file of responses."""
    level: float
    """Confidence level, 0 … 1."""
    table: SampleTable
    strata: tuple[Stratum, ...]
    """Of the design, with the points that were used."""
    overall: Estimate
    overall_score: tuple[float, float]
    """Limits of the overall accuracy from Wilson's intervals."""
    classes: tuple[ClassAccuracy, ...]

    @property
    def z(self) -> float:
        """Half-width of an interval in standard errors."""
        return z_of(self.level)

    @property
    def matrix(self) -> npt.NDArray[np.int64]:
        """(map classes, reference classes) points."""
        total: npt.NDArray[np.int64] = self.table.counts.sum(axis=0)
        return total

    @property
    def estimator(self) -> str:
        """Which formulas, in words."""
        if self.design.strata_source is None:
            return (
                "stratified estimators, strata = map classes, no finite population correction (Olofsson et al. 2014, "
                "Remote Sensing of Environment 148)"
            )
        return (
            "stratified estimators, strata are not the map's classes, with finite population correction (Stehman "
            "2014, International Journal of Remote Sensing 35)"
        )


def assess(design: SampleDesign, responses: Responses, *, reference: str, level: float = 0.95) -> Assessment:
    """The assessment of the map that `design` was drawn from.

    Args:
        design: of the sample.
        responses: to it.
        reference: name of the file they are from.
        level: confidence level, such as 0.95 or 0.90.

    Raises:
        SettingsError: the level is not in 0.5 … 0.999.
        ProductError: a stratum has no usable label.
    """
    if not 0.5 <= level <= 0.999:
        raise SettingsError(f"confidence level {level:g} is not in 0.5 … 0.999: give 0.95 or 0.90")
    table = _tabulate(design, responses)
    z = z_of(level)
    return Assessment(
        design=design,
        responses=responses,
        reference=reference,
        level=level,
        table=table,
        strata=tuple(
            Stratum(id=one.id, name=one.name, area_m2=one.area_m2, pixels=one.pixels, points=int(count))
            for one, count in zip(design.strata, table.points, strict=True)
        ),
        overall=estimate_mean(table, np.eye(len(table.class_ids)), z),
        overall_score=score_limits(table, np.eye(len(table.class_ids)), z),
        classes=tuple(_of_class(design, table, index, z) for index in range(len(table.class_ids))),
    )


def _tabulate(design: SampleDesign, responses: Responses) -> SampleTable:
    """Classes of the map or of a label; a class that is in neither has nothing to say."""
    occurring = {one.id for one in design.classes if one.pixels} | set(responses.labels.values())
    class_ids = tuple(one for one in design.legend.ids if one in occurring)
    place = {class_id: index for index, class_id in enumerate(class_ids)}
    rank = {one.id: index for index, one in enumerate(design.strata)}
    counts = np.zeros((len(rank), len(place), len(place)), np.int64)
    sums = np.zeros((2, *counts.shape))
    for point in design.points:
        if point.id in responses.labels:
            cell = rank[point.stratum], place[point.map_class], place[responses.labels[point.id]]
            counts[cell] += 1
            sums[(..., *cell)] += point.weight, point.weight**2
    for one, count in zip(design.strata, counts.sum(axis=(1, 2)), strict=True):
        if count == 0:
            raise ProductError(
                f"none of the {one.points} points of stratum {one.name} has a usable label, so its area cannot be "
                "judged: label two of them at least"
            )
    points = counts.sum(axis=(1, 2))
    mean = (sums[0].sum(axis=(1, 2)) / points)[:, None, None]  # of the points that are used
    is_weighed = any(one.weight != 1 for one in design.points)
    return SampleTable(
        class_ids=class_ids,
        weights=np.array([one.area_m2 for one in design.strata]),
        counts=counts,
        population=_population(design, points),
        weighed=sums[0] / mean if is_weighed else None,
        squares=sums[1] / mean**2 if is_weighed else None,
        strata_are_classes=design.strata_source is None,
    )


def _population(design: SampleDesign, points: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Pixels of each stratum; none are finite where Olofsson's estimators hold, but for those counted completely."""
    pixels = np.array([one.pixels for one in design.strata], np.float64)
    return pixels if design.strata_source is not None else np.where(points == pixels, pixels, np.inf)


def _of_class(design: SampleDesign, table: SampleTable, index: int, z: float) -> ClassAccuracy:
    class_id = table.class_ids[index]
    total_m2 = design.population_m2
    mapped, referenced = table.mapped(index), table.referenced(index)
    both = mapped * referenced
    matrix = table.counts.sum(axis=0)
    n_map, n_reference = int(matrix[index].sum()), int(matrix[:, index].sum())
    area = estimate_mean(table, referenced, z)
    if n_reference == 0:  # an estimate of 0 ± 0 would say that the class is known to be absent
        area = Estimate(value=0.0, se=float("nan"), z=z)
    low, high = score_limits(table, referenced, z)
    return ClassAccuracy(
        id=class_id,
        name=design.legend.name_of(class_id),
        mapped_m2=sum(one.area_m2 for one in design.classes if one.id == class_id),
        area=area.scaled(total_m2),
        score_m2=(low * total_m2, high * total_m2),
        users=estimate_ratio(table, both, mapped, z) if n_map else None,
        users_score=users_score_limits(table, index, z) if design.strata_source is None else None,
        producers=estimate_ratio(table, both, referenced, z) if n_reference else None,
        producers_score=producers_score_limits(table, index, z) if design.strata_source is None else None,
        f1=estimate_ratio(table, 2 * both, mapped + referenced, z) if n_map + n_reference else None,
        n_map=n_map,
        n_reference=n_reference,
        omitted=n_reference - int(matrix[index, index]),
    )


def _flags(one: ClassAccuracy) -> Iterator[str]:
    if one.n_reference == 0:
        yield "no reference point has this class: only the upper score limit of its area means anything"
    elif min(one.omitted, one.committed) < FEW_OMISSIONS:
        yield (
            f"{one.omitted} points of omission and {one.committed} of commission, one of them fewer than "
            f"{FEW_OMISSIONS}: the Wald intervals of area and producer's accuracy under-cover; the score intervals hold"
        )
    if one.n_map < FEW_POINTS:
        yield f"{one.n_map} points in the mapped class, fewer than {FEW_POINTS}: its user's accuracy is uncertain"
    if one.n_map and one.committed in (0, one.n_map):
        what = "no error" if one.committed == 0 else "no point that is right"
        yield f"{what} among {one.n_map} points of the mapped class: a standard error of 0 is not certainty"
