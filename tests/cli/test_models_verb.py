"""`geoseg models` as a user types it: the table, one architecture with its options, and a name that is not known."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp

from geoseg.cli import main
from geoseg.model.catalogue import list_entries
from geoseg.model.registry import create_model, list_architectures


def geoseg(*words: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(words))
    return stop.value.code if isinstance(stop.value.code, int) else 1


def test_the_table_has_every_architecture_with_its_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert geoseg("models") == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "parameters", "divisor", "margin", "licence", "extra", "title", "source"]
    rows = {line.split()[0]: line for line in lines}
    assert len(lines) == len(list_architectures())
    assert " 31,037,698 " in rows["unet"]
    assert " 24,436,514 " in rows["unet:resnet34"]
    assert "MIT (segmentation-models-pytorch)" in rows["unet:resnet34"]
    assert "whole tile" in rows["fast_scnn"]
    assert "arXiv:1902.04502" in rows["fast_scnn"]
    needs = {one.name for one in list_architectures() if one.extra}  # unknown where the extra is not installed
    assert "?" not in "".join(line.split()[1] for line in lines if line.split()[0].partition(":")[0] not in needs)


def test_json_has_the_facts_of_the_registry(capsys: pytest.CaptureFixture[str]) -> None:
    assert geoseg("models", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["bands"], document["classes"]) == ("geoseg/models/1", 3, 2)
    listed = list_architectures()
    assert [entry["name"].partition(":")[0] for entry in document["architectures"]] == [one.name for one in listed]
    assert [entry["margin"] for entry in document["architectures"]] == [one.margin for one in listed]
    assert all(entry["licence"] and entry["source"] for entry in document["architectures"])


def test_one_architecture_shows_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert geoseg("models", "espnetv2") == 0
    text = capsys.readouterr().out
    assert text.startswith("espnetv2: ESPNetv2\n")
    assert "s=2.0, aux=False" in text
    assert "1,244,650" in text


def test_options_that_are_shown_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    """Each option of each own network of the literature, given back its default."""
    for name in ("unet", "fc_densenet56", "bisenetv2", "espnet", "fast_scnn", "fpn:resnet18"):
        assert geoseg("models", name, "--json") == 0
        for entry in json.loads(capsys.readouterr().out)["architectures"]:
            plain = {key: value for key, value in entry["options"].items() if not isinstance(value, str)}
            create_model(entry["name"], in_channels=3, classes=2, options=plain)


def test_a_name_shared_by_two_shows_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert geoseg("models", "unet", "--json") == 0
    entries = json.loads(capsys.readouterr().out)["architectures"]
    assert [entry["name"] for entry in entries] == ["unet", "unet:resnet34"]
    assert entries[0]["encoders"] == []
    free = set(smp.encoders.encoders)
    shown = set(entries[1]["encoders"])
    assert {"resnet18", "efficientnet-b0", "vgg16_bn"} <= shown
    assert not any(name.startswith(("mit_", "mobileone_")) for name in shown)
    assert shown - free == {"tu-NAME for any NAME of timm"}


def test_with_another_encoder_size_and_margin_are_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert geoseg("models", "unet:resnet18", "--json") == 0
    (entry,) = json.loads(capsys.readouterr().out)["architectures"]
    assert (entry["name"], entry["parameters"], entry["margin"]) == ("unet:resnet18", 14_328_354, 288)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fast_scn", "architecture 'fast_scn' is not known: nearest are fast_scnn"),
        ("unet:resnet19", "encoder 'resnet19' is not known"),
        ("unet:mit_b0", "non-commercial"),
        ("fast_scnn:resnet18", "architecture 'fast_scnn' takes no encoder"),
    ],
)
def test_names_that_are_not_known_are_one_line(name: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert geoseg("models", name) == 2
    out, said = capsys.readouterr()
    assert out == ""
    assert message in said
    assert said.count("\n") == 1


def test_help_loads_no_torch() -> None:
    code = "import sys; from geoseg.cli import app; app(['models', '--help'], standalone_mode=False);"
    code += "print({'torch', 'timm', 'segmentation_models_pytorch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_the_table_in_the_docs_is_this_one() -> None:
    """Sizes apart, where an extra is not installed here."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    for entry, line in zip(list_entries(), lines, strict=True):
        margin = "tile" if entry["margin"] is None else str(entry["margin"])
        name, title, parameters, *facts = (cell.strip() for cell in line.strip("|").split("|"))
        assert (name, title) == (f"`{entry['name']}`", entry["title"])
        assert facts == [str(entry["divisor"]), margin, entry["licence"], entry["source"]]
        if entry["parameters"] is not None and parameters:
            assert parameters == f"{entry['parameters']:,}"
