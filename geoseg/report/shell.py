"""What every page with a map is made in: Leaflet, policy, scripts and style; what a page says is its own matter."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from geoseg import __version__
from geoseg.report.frame import content_policy, make_environment, read_template, trusted

_LEAFLET: Final = Path(__file__).parent / "vendor" / "leaflet"
"""Leaflet 1.9.4 as released (dist/), but for the comment that names its source map."""


def render(
    template: str,
    values: Mapping[str, Any],
    *,
    scripts: Sequence[str],
    styles: Sequence[str],
    made: datetime | None = None,
) -> str:
    """A page. Every text is escaped; the policy admits only these very scripts and styles, and Leaflet."""
    style = trusted("\n".join([_leaflet_style(), *map(read_template, styles)]))
    script, leaflet = trusted("\n".join(map(read_template, scripts))), trusted(_leaflet_script())
    return (
        make_environment()
        .get_template(template)
        .render(
            **values,
            policy=content_policy(style, scripts=[script, leaflet]),
            style=style,
            script=script,
            leaflet=leaflet,
            version=__version__,
            made=made or datetime.now(UTC),
        )
    )


@cache
def _leaflet_style() -> str:
    """Leaflet's style without its comments and its pictures, which would be loaded."""
    text = (_LEAFLET / "leaflet.css").read_text(encoding="utf-8")
    return re.sub(r"url\([^)]*\)", "none", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL))


@cache
def _leaflet_script() -> str:
    return (_LEAFLET / "leaflet.js").read_text(encoding="utf-8")
