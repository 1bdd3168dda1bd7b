"""A bundle before it is packed: its YAML and a state dict, completed and fitted to each other; nothing is written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from geoseg.errors import BundleError, SettingsError
from geoseg.model.margin import probe_margin
from geoseg.model.registry import build_network, find_architecture
from geoseg.model.spec import parse_spec_fields
from geoseg.model.weights import load_state, read_state


def read_unpacked(file: Path, weights: Path) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    """The keys of bundle.yaml and the state dict, which fits the network.

    Divisor, min_size and margins that the file leaves out are those of the network; a network that sees its whole
    tile has no exact margin, and its margin_tolerance must be said.

    Raises:
        BundleError: a wrong key or value, unreadable weights, or weights of another network.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{file} cannot be read: give a bundle.yaml without weights_sha256") from error
    fields = parse_spec_fields(text, place=str(file))
    state = read_state(weights)
    name, options = str(fields.get("architecture", "")), fields.get("options") or {}
    try:
        facts = find_architecture(name)
        network = build_network(
            name, in_channels=len(fields.get("bands") or ()), classes=len(fields.get("legend") or ()), options=options
        )
    except SettingsError as error:
        raise BundleError(f"{file}: {error}") from error
    load_state(network, state, place=str(weights))
    fields.setdefault("divisor", facts.divisor)
    divisor = fields["divisor"]
    fields.setdefault("min_size", -(-facts.min_size // divisor) * divisor)
    if "margin_exact" not in fields:
        fields["margin_exact"] = probe_margin(network, len(fields["bands"]), divisor, min_size=facts.min_size)
    if "margin_tolerance" not in fields:
        if fields["margin_exact"] is None:
            raise BundleError(
                f"{file}: key margin_tolerance is missing, and {name} sees its whole tile: say how many outer pixels "
                f"of a tile are not used, a multiple of {divisor}"
            )
        fields["margin_tolerance"] = fields["margin_exact"]
    return fields, state
