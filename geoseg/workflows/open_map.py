"""A class map, geoseg's or anybody's, with the legend it carries or is given."""

import re
from pathlib import Path
from typing import Any

import yaml

from geoseg.core.legend import LandClass, Legend
from geoseg.core.patch import MAX_CLASSES
from geoseg.errors import SettingsError
from geoseg.raster.classmap import ClassMap, read_classmap
from geoseg.raster.safety import find_local_file, plain


def open_classmap(source: str, *, nodata: int | None, legend: Path | None) -> ClassMap:
    """A class map with the legend it carries or is given."""
    return read_classmap(find_local_file(source), nodata=nodata, legend=None if legend is None else read_legend(legend))


def read_legend(path: Path) -> Legend:
    """A legend from YAML: `id: name`, or `id: {name: …, color: "#rrggbb"}`.

    Raises:
        SettingsError: the file is no such YAML.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        classes = [_land_class(key, value) for key, value in content.items()]
        return Legend(classes=tuple(sorted(classes, key=lambda one: one.id)))
    except (OSError, yaml.YAMLError, AttributeError, TypeError, ValueError, KeyError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"{path}: not a legend ({reason}); write `class id: name` in each line") from error


def _land_class(key: Any, value: Any) -> LandClass:
    if not re.fullmatch(r"\d{1,3}", str(key)):
        raise ValueError(f"class id {key!r} is not in 0 … {MAX_CLASSES - 1}")
    class_id = int(key)
    if value is None:
        raise ValueError(f"class {class_id} has no name")
    if isinstance(value, dict):
        return LandClass(id=class_id, name=plain(str(value["name"])), color=str(value["color"]))
    # evenly spread greys: a map without colours still shows its classes
    grey = 40 + class_id * 97 % 200
    return LandClass(id=class_id, name=plain(str(value)), color=f"#{grey:02x}{grey:02x}{grey:02x}")
