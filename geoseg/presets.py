"""Finding and loading pipelines, configs and definitions: by name among the shipped ones, or as a YAML file."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from geoseg.config import SECRET_KEYS, Config
from geoseg.definition import Definition
from geoseg.errors import SettingsError
from geoseg.pipeline import Pipeline

Value = TypeVar("Value", bound=BaseModel)

_PACKAGE = Path(__file__).parent


def load_pipeline(name: str, *, overrides: Sequence[str] = ()) -> Pipeline:
    """The pipeline of that name or file, with `KEY=VALUE` overrides such as `tiling.margin=64`.

    Raises:
        SettingsError: there is none, or a key or value in it is wrong.
    """
    return _load(Pipeline, "pipelines", name, overrides, flag="--set")


def load_config(name: str, *, overrides: Sequence[str] = ()) -> Config:
    """The config of that name or file, with `KEY=VALUE` overrides such as `threads=2`.

    Raises:
        SettingsError: there is none, or a key or value in it is wrong.
    """
    return _load(Config, "configs", name, overrides, flag="--set-config")


def load_definition(name: str) -> Definition:
    """The definition of that name or file.

    Raises:
        SettingsError: there is none, or a key or value in it is wrong.
    """
    return _load(Definition, "pipelines/definitions", name, (), flag="")


def dump(value: BaseModel) -> str:
    """The YAML of such a value; loading it gives an equal value."""
    return yaml.safe_dump(value.model_dump(mode="json"), sort_keys=False)


def parse(kind: type[Value], text: str, *, place: str) -> Value:
    """A value from YAML text; `place` names the file in messages.

    Raises:
        SettingsError: the text is no YAML mapping, or a key or value is wrong.
    """
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise SettingsError(f"{place} is not YAML: {_one_line(error)}; correct the file") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{place} holds {type(content).__name__}, not keys and values; correct the file")
    return _validate(kind, content, place)


def shipped(folder: str) -> dict[str, Path]:
    """The YAML files that come with geoseg in `pipelines`, `configs` or `pipelines/definitions`, by name."""
    for place in (_PACKAGE / f"_{folder}", _PACKAGE.parent / folder):
        if place.is_dir():
            return {path.stem: path for path in sorted(place.glob("*.yaml"))}
    return {}


def _load(kind: type[Value], folder: str, name: str, overrides: Sequence[str], *, flag: str) -> Value:
    path = _find(folder, name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {_one_line(error)}") from error
    return override(parse(kind, text, place=str(path)), overrides, flag=flag)


def override(value: Value, overrides: Sequence[str], *, flag: str) -> Value:
    """The value with `KEY=VALUE` overrides, which a user gave with `flag`.

    Raises:
        SettingsError: a key or value in them is wrong.
    """
    if not overrides:
        return value
    content = value.model_dump(mode="json")
    for one in overrides:
        _override(content, one, flag)
    return _validate(type(value), content, flag)


def _find(folder: str, name: str) -> Path:
    known = shipped(folder)
    if name in known:
        return known[name]
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} and path.is_file():
        return path
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"shipped ones: {', '.join(known)}"
    raise SettingsError(f"{name} is neither a shipped name nor a YAML file ({folder}): {hint}")


def _override(content: dict[str, Any], text: str, flag: str) -> None:
    """Sets one dotted key of a tree to a value written in YAML."""
    key, equals, value = text.partition("=")
    if not equals:
        raise SettingsError(f"{flag} {text}: write KEY=VALUE, such as tiling.margin=64")
    place = content
    *parents, last = key.strip().split(".")
    for parent in parents:
        inner = place.get(parent)
        if not isinstance(inner, dict):
            raise SettingsError(f"{flag} {key}: unknown key {parent}{_nearest(parent, place)}")
        place = inner
    try:
        place[last] = yaml.safe_load(value)
    except (yaml.YAMLError, RecursionError) as error:
        if key.strip() in SECRET_KEYS:
            raise SettingsError(f"{flag} {key.strip()}: the value is not YAML: put it in quotes") from None
        raise SettingsError(f"{flag} {text[:80]}: the value is not YAML: {_one_line(error)}") from error


def _validate(kind: type[Value], content: Mapping[str, Any], place: str) -> Value:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            siblings = _keys_at(kind, [str(part) for part in first["loc"][:-1]])
            raise SettingsError(f"{place}: unknown key {key}{_nearest(str(first['loc'][-1]), siblings)}") from error
        reason = first["msg"].removeprefix("Value error, ")
        is_shown = first["type"] != "missing" and key not in SECRET_KEYS
        where = f"{key} = {first['input']!r}: " if key and is_shown else f"{key}: " if key else ""
        raise SettingsError(f"{place}: {where}{reason}") from error


def _keys_at(kind: type[BaseModel], path: list[str]) -> list[str]:
    """Field names of the section that a path of field names leads to."""
    fields = kind.model_fields
    for part in path:
        inner = fields[part].annotation if part in fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        fields = inner.model_fields
    return list(fields)


def _nearest(word: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    if near:
        return f": did you mean {near[0]}?"
    return f": known keys are {', '.join(known)}" if known else ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
