"""A page of tables and plots without a map; what stands on it is decided in `evaluation_page` and `training_page`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from geoseg import __version__
from geoseg.report.frame import content_policy, inert_json, make_environment, read_template, trusted
from geoseg.report.numbers import signed


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A figure of the headline."""

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """What every such page has."""

    kind: str
    title: str
    subtitle: str
    figures: tuple[Card, ...]
    warnings: tuple[str, ...]
    documents: Mapping[str, Any]
    """File name -> its JSON: the block for machines."""


def render_plain(template: str, plain: Plain, views: Mapping[str, Any], *, made: datetime | None = None) -> str:
    """The page. Every text is escaped; it loads nothing and runs nothing.

    Args:
        template: its file; extends plain.html.
        plain: what every such page has.
        views: what this template shows besides.
        made: when; None: now.
    """
    style = trusted(read_template("page.css"))
    environment = make_environment()
    environment.filters["bias"] = bias
    return environment.get_template(template).render(
        **views,
        kind=plain.kind,
        title=plain.title,
        subtitle=plain.subtitle,
        figures=plain.figures,
        warnings=plain.warnings,
        policy=content_policy(style, scripts=[]),
        style=style,
        documents_json=inert_json(dict(plain.documents)),
        version=__version__,
        made=made or datetime.now(UTC),
    )


def bias(share: float | None) -> str:
    """A signed share as a percentage; a dash where there is none."""
    return "–" if share is None else f"{signed(100 * share)} %"
