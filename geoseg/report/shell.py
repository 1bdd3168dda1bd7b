"""What every page is made in: templates, policy, scripts and style; what a page says is its own module's matter."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from geoseg import __version__
from geoseg.errors import ProductError
from geoseg.report.numbers import FILTERS

_HERE: Final = Path(__file__).parent
_LEAFLET: Final = _HERE / "vendor" / "leaflet"
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
    style = _trusted("\n".join([_leaflet_style(), *map(_read, styles)]))
    script, leaflet = _trusted("\n".join(map(_read, scripts))), _trusted(_leaflet_script())
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    return environment.get_template(template).render(
        **values,
        policy=_policy(style, scripts=[script, leaflet]),
        style=style,
        script=script,
        leaflet=leaflet,
        version=__version__,
        made=made or datetime.now(UTC),
    )


def inert_json(document: Any) -> Markup:
    """JSON that ends no script element and starts no comment; a parser of JSON reads it back.

    In ASCII: half a surrogate pair, which JSON may hold, is no UTF-8.
    """
    try:
        text = json.dumps(document, sort_keys=False, allow_nan=False)
    except RecursionError as error:
        raise ProductError("a document of the report is nested too deep: make it again with geoseg") from error
    return _trusted(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _trusted(text: str) -> Markup:
    """Text that is put into the page as it is: files of this package, and JSON without a character of markup."""
    return Markup(text)  # noqa: S704


def _policy(style: str, *, scripts: list[str]) -> str:
    """Nothing may be loaded, and only these scripts and this style may act; `style` attributes neither."""
    hashes = " ".join(_hash(one) for one in scripts)
    return (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {hashes}; base-uri 'none'; "
        "form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


@cache
def _leaflet_style() -> str:
    """Leaflet's style without its comments and its pictures, which would be loaded."""
    text = (_LEAFLET / "leaflet.css").read_text(encoding="utf-8")
    return re.sub(r"url\([^)]*\)", "none", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL))


@cache
def _leaflet_script() -> str:
    return (_LEAFLET / "leaflet.js").read_text(encoding="utf-8")


@cache
def _read(name: str) -> str:
    return (_HERE / "templates" / name).read_text(encoding="utf-8")
