"""How figures are written in the report; what they mean is `headline`'s and the documents' matter."""

import math
from datetime import datetime

from geoseg.report.assessment_document import Estimate, Limits

M2_PER_HA = 1e4
_NO_WIDTH = 0.0005


def hectares(area_m2: float) -> str:
    """Square metres as hectares: two decimals, four where there is less than one hectare."""
    value = area_m2 / M2_PER_HA
    return f"{value:,.4f}" if 0 < abs(value) < 1 else f"{value:,.2f}"


def plain_number(value: float, digits: int = 0) -> str:
    """Thousands apart by commas."""
    return f"{value:,.{digits}f}"


def percent(share: float | None, digits: int = 2) -> str:
    """A share 0 … 1 as a percentage; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def signed(value: float, digits: int = 2) -> str:
    """With its sign, a true minus."""
    return f"{value:+,.{digits}f}".replace("-", "−")


def digits_of(half_width_ha: float) -> int:
    """Decimals of hectares worth printing beside an interval of this half width: two significant digits of it."""
    if half_width_ha <= 0 or not math.isfinite(half_width_ha):
        return 2
    return min(4, max(0, 1 - math.floor(math.log10(half_width_ha))))


def estimate_ha(estimate: Estimate) -> str:
    """`1,234 ± 56 ha` in hectares; without an interval the figure alone."""
    half = estimate.half_width
    if half is None:
        return f"{hectares(estimate.value)} ha"
    digits = digits_of(half / M2_PER_HA)
    return f"{estimate.value / M2_PER_HA:,.{digits}f} ± {half / M2_PER_HA:,.{digits}f} ha"


def interval_ha(estimate: Estimate) -> str:
    """`1,178 to 1,290 ha`; a dash without an interval."""
    if estimate.low is None or estimate.high is None:
        return "–"
    digits = digits_of((estimate.high - estimate.low) / 2 / M2_PER_HA)
    return f"{estimate.low / M2_PER_HA:,.{digits}f} to {estimate.high / M2_PER_HA:,.{digits}f} ha"


def rounded_ha(area_m2: float, low_m2: float, high_m2: float) -> str:
    """Hectares with the decimals that an interval leaves of them."""
    return f"{area_m2 / M2_PER_HA:,.{digits_of((high_m2 - low_m2) / 2 / M2_PER_HA)}f}"


def estimate_percent(estimate: Estimate | None, score: Limits | None = None, *, wald: bool = True) -> str:
    """A share 0 … 1 as `91.2 ± 3.4 %`; as `100.0 % (88.6 to 100.0)` by its score limits where ± would mislead.

    Args:
        estimate: None: a dash.
        score: limits that hold without a single error too.
        wald: ± may be trusted, where it is not 0.
    """
    if estimate is None:
        return "–"
    half = estimate.half_width
    if score is not None and (not wald or half is None or half < _NO_WIDTH):
        return f"{100 * estimate.value:.1f} % ({100 * score.low:.1f} to {100 * score.high:.1f})"
    return f"{100 * estimate.value:.1f} %" if half is None else f"{100 * estimate.value:.1f} ± {100 * half:.1f} %"


def megabytes(count: int | None) -> str:
    """Bytes as MB."""
    return "–" if count is None else f"{count / 1e6:,.1f} MB"


def moment(value: datetime) -> str:
    """A moment in UTC, to the second."""
    return value.strftime("%Y-%m-%d %H:%M:%S %Z")


def opening(text: str) -> str:
    """As a sentence begins: a plain word gets its capital, a file or key keeps its letters."""
    first = text.split(" ", 1)[0]
    return text[:1].upper() + text[1:] if first.isalpha() and first.islower() else text


FILTERS = {
    "ha": hectares,
    "number": plain_number,
    "percent": percent,
    "signed": signed,
    "estimate_ha": estimate_ha,
    "interval_ha": interval_ha,
    "estimate_percent": estimate_percent,
    "megabytes": megabytes,
    "moment": moment,
    "opening": opening,
}
"""What the templates may call."""
