"""Where results go: every verb that writes refuses an address, which would become a folder of its name."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from geoseg.cli import app, main
from geoseg.cli.options import LocalPath


def commands(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


def test_every_out_is_a_local_path() -> None:
    outs = {words: one for words, command in commands(app) for one in command.params if one.name == "out"}
    assert len(outs) > 12
    assert {words for words, one in outs.items() if not isinstance(one.type, LocalPath)} == set()


@pytest.mark.parametrize("out", ["s3://b/x", "https://h.org/x?sig=secret", "https://me:secret@h.org/x", "file:///x"])
@pytest.mark.parametrize("verb", [["batch", "plan", "."], ["batch", "run", "."], ["batch", "run"], ["run", "x.tif"]])
def test_an_address_is_refused_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: list[str], out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main([*verb, out])
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert "is an address, and results are files of this machine" in said
    assert "secret" not in said
    assert not list(tmp_path.iterdir())


def test_a_folder_with_a_colon_is_a_folder() -> None:
    assert LocalPath().convert("a:b/c", None, None) == Path("a:b/c")
