"""A JSON document read into a checked value; what is in areas, assessment and change is said in files of their own."""

import json
import math
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from geoseg.errors import ProductError

Kind = TypeVar("Kind", bound="Document")
MadeBy = Literal["run", "assess", "change", "batch report --union"]


class Document(BaseModel):
    """Part of a document: immutable; unknown keys are no matter, numbers are finite."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


def read_document(kind: type[Kind], path: Path, *, made_by: MadeBy) -> tuple[Kind, Any]:
    """A document of a folder, and its JSON as it is.

    Raises:
        ProductError: it is not there, is not JSON, or lacks what the page needs.
    """
    again = f"make it again with geoseg {made_by}"
    try:
        raw = json.loads(path.read_bytes(), parse_constant=_refuse, parse_float=_finite)
    except OSError as error:
        raise ProductError(f"{path} cannot be read ({error.strerror}): {again}, or name another folder") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)[:100]
        raise ProductError(f"{path} is not JSON ({reason}): {again}") from error
    return parse_document(kind, raw, place=str(path), again=again), raw


def _refuse(constant: str) -> NoReturn:
    """Infinity and NaN are no JSON, though Python writes them."""
    raise ValueError(f"{constant[:20]} is no number of JSON")


def _finite(text: str) -> float:
    """A number too large for a float would be infinity, which no JSON that is written again can hold."""
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def parse_document(kind: type[Kind], raw: Any, *, place: str, again: str) -> Kind:
    """The document in decoded JSON.

    Raises:
        ProductError: it lacks what the page needs.
    """
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the document"
        raise ProductError(f"{place}: {key}: {first['msg']}; {again}") from error
