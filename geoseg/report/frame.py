"""What every page is made with: templates that escape, a policy that loads nothing, data that ends no script."""

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from geoseg.core.picture import Picture
from geoseg.errors import ProductError
from geoseg.report.numbers import FILTERS

_TEMPLATES: Final = Path(__file__).parent / "templates"


def make_environment() -> Environment:
    """Templates by name; every text is escaped, an unknown name is an error."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    return environment


def data_uri(picture: Picture) -> str:
    """The image itself, as an address."""
    return f"data:{picture.media_type};base64,{base64.b64encode(picture.content).decode('ascii')}"


def inert_json(document: Any) -> Markup:
    """JSON that ends no script element and starts no comment; a parser of JSON reads it back.

    In ASCII: half a surrogate pair, which JSON may hold, is no UTF-8.
    """
    try:
        text = json.dumps(document, sort_keys=False, allow_nan=False)
    except RecursionError as error:
        raise ProductError("a document of the report is nested too deep: make it again with geoseg") from error
    return trusted(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def trusted(text: str) -> Markup:
    """Text that is put into the page as it is: files of this package, and JSON without a character of markup."""
    return Markup(text)  # noqa: S704


def content_policy(style: str, *, scripts: list[str]) -> str:
    """Nothing may be loaded, and only these scripts and this style may act; `style` attributes neither."""
    hashes = " ".join(_hash(one) for one in scripts) or "'none'"
    return (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {hashes}; base-uri 'none'; "
        "form-action 'none'"
    )


@cache
def read_template(name: str) -> str:
    """A file of the templates as it is."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
