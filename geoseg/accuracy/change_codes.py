"""The classes of a change map: which pair of classes becomes which label, by name and colour. No pixel is counted."""

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from geoseg.accuracy.change import ChangeTable, ClassChange, pair_key
from geoseg.core.legend import LandClass, Legend
from geoseg.core.patch import MAX_CLASSES, NODATA
from geoseg.core.zone_table import ZoneArea
from geoseg.errors import ProductError, SettingsError

Role = Literal["stable", "loss", "gain"]
_FOREST: Final = frozenset({"forest", "tree cover", "trees"})
"""Names of the class that a map of two classes is about."""
_OTHER, _STABLE, _LOSS, _GAIN = range(4)
_OTHER_COLOR, _LOSS_COLOR, _GAIN_COLOR = "#e4e0d4", "#c8321e", "#2f6fb5"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeCodes:
    """How pairs of classes are written in a change map."""

    legend: Legend
    """Of the change map."""
    label: npt.NDArray[np.uint8]
    """(256, 256) label of each pair [from, to]; 255 where either is no class."""
    roles: Mapping[int, Mapping[Role, tuple[int, ...]]]
    """Class id of the maps -> labels in which it stayed, went and came; only classes the labels tell apart."""
    changed: tuple[int, ...]
    """Labels that are a change, ascending."""

    def in_zone(self, table: ChangeTable, zone: ZoneArea) -> tuple[ClassChange, ...]:
        """What became of the classes in a zone of the change map."""

        def area(labels: tuple[int, ...]) -> float:
            return sum(zone.area_m2.get(k, 0.0) for k in labels)

        return tuple(
            ClassChange(
                id=class_id,
                name=table.legend.name_of(class_id),
                stable_m2=area(roles["stable"]),
                gain_m2=area(roles["gain"]),
                loss_m2=area(roles["loss"]),
                years=table.years,
            )
            for class_id, roles in self.roles.items()
        )


def find_target(legend: Legend, name: str | None) -> int | None:
    """Id of the class whose loss and gain is mapped; None: every transition is.

    Without a name it is the forest or tree cover of a map of two classes, where nothing is lost by it.

    Raises:
        SettingsError: no class has that name.
    """
    by_name = {one.name.casefold(): one.id for one in legend}
    if name is None:
        known = [found for key, found in by_name.items() if key in _FOREST]
        return known[0] if len(legend) == 2 and len(known) == 1 else None
    exact = {one.name: one.id for one in legend}
    found = exact.get(name, by_name.get(name.strip().casefold()))
    if found is None:
        raise SettingsError(f"--class {name}: the maps have {', '.join(exact)}: name one of them")
    return found


def code_changes(table: ChangeTable, target: int | None) -> ChangeCodes:
    """Labels of the change map: four about the target, or one for each transition that occurs.

    Raises:
        ProductError: the maps observe no ground in common, or more than 200 transitions occur.
    """
    if not table.pixels(table.observed):
        raise ProductError("the maps observe no ground in common: check that they are of one place")
    return _code_all(table) if target is None else _code_target(table.legend, target)


def _code_target(legend: Legend, target: int) -> ChangeCodes:
    one = next(one for one in legend if one.id == target)
    label = np.full((256, 256), NODATA, np.uint8)
    for first in legend.ids:
        for second in legend.ids:
            label[first, second] = {
                (True, True): _STABLE,
                (True, False): _LOSS,
                (False, True): _GAIN,
                (False, False): _OTHER,
            }[first == target, second == target]
    rest = "stable other" if one.name.casefold() != "other" else "stable rest"
    named = {
        _OTHER: (rest, _OTHER_COLOR),
        _STABLE: (f"stable {one.name}", one.color),
        _LOSS: (f"{one.name} loss", _LOSS_COLOR),
        _GAIN: (f"{one.name} gain", _GAIN_COLOR),
    }
    return ChangeCodes(
        legend=Legend(classes=tuple(LandClass(id=k, name=name, color=color) for k, (name, color) in named.items())),
        label=label,
        roles={target: {"stable": (_STABLE,), "loss": (_LOSS,), "gain": (_GAIN,)}},
        changed=(_LOSS, _GAIN),
    )


def _code_all(table: ChangeTable) -> ChangeCodes:
    by_id = {one.id: one for one in table.legend}
    pairs = [(one.first, one.second) for one in table.transitions if one.pixels]
    if len(pairs) > MAX_CLASSES:
        raise ProductError(
            f"{len(pairs)} transitions occur; a change map tells {MAX_CLASSES} apart: name the class to follow with "
            "--class"
        )
    label = np.full((256, 256), NODATA, np.uint8)
    classes: list[LandClass] = []
    for number, (first, second) in enumerate(pairs):
        label[first, second] = number
        before, after = by_id[first], by_id[second]
        name = f"stable {before.name}" if first == second else f"{before.name} to {after.name}"
        if any(one.name == name for one in classes):
            name = f"{name} ({first} to {second})"
        color = before.color if first == second else _hue(number)
        classes.append(LandClass(id=number, name=name, color=color))
    number_of = {pair_key(*pair): number for number, pair in enumerate(pairs)}

    def labels(keys: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(number_of[key] for key in keys if key in number_of)

    return ChangeCodes(
        legend=Legend(classes=tuple(classes)),
        label=label,
        roles={
            k: {
                "stable": labels((pair_key(k, k),)),
                "loss": labels(table.loss_keys(k)),
                "gain": labels(table.gain_keys(k)),
            }
            for k in table.legend.ids
        },
        changed=tuple(number for number, (first, second) in enumerate(pairs) if first != second),
    )


def _hue(number: int) -> str:
    """Colours a golden angle apart."""
    red, green, blue = (round(255 * one) for one in colorsys.hsv_to_rgb(number * 0.618034 % 1.0, 0.7, 0.8))
    return f"#{red:02x}{green:02x}{blue:02x}"
