"""What the command line promises of every verb: quick help, one line per failure, the right exit code."""

import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from geoseg.cli import VERBS, _explain, app, main
from tests.raster.factory import make_raster


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "geoseg", *words], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_help_and_imports_nothing_heavy_for_it(verb: str) -> None:
    code = (
        "import sys\n"
        "from geoseg.cli import main\n"
        "try:\n    main([sys.argv[1], '--help'])\n"
        "except SystemExit as stop:\n    assert stop.code == 0, stop.code\n"
        "heavy = {'torch', 'rasterio', 'numpy', 'shapely', 'geopandas', 'pydantic', 'geoseg.core'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code, verb], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: geoseg" in done.stdout or "Usage:" in done.stdout


def test_the_table_of_verbs_is_true() -> None:
    for name, verb in VERBS.items():
        command = app.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        assert command.help
        assert verb.help.endswith(".")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rum", "a", "b"], "No such command 'rum'"),
        (["run"], "Missing argument 'SCENE'"),
        (["run", "missing.tif", "out"], "missing.tif"),
        (["run", "missing.tif", "out", "--pipeline", "forrest"], "did you mean forest?"),
        (["run", "missing.tif", "out", "--bands", "red"], "is not NAME=BAND"),
        (["run", "missing.tif", "out", "--set", "tiling.margn=1"], "did you mean margin?"),
        (["run", "missing.tif", "out", "--set-config", "threads=-1"], "threads = -1"),
        (["area", "missing.tif"], "missing.tif"),
        (["polygons", "missing.tif", "out.shp"], "suffix .shp is not one of"),
        (["scene", "info", "missing.tif"], "missing.tif"),
        (["run", "", "out"], "an argument is empty"),
        (["run", "missing.tif", ""], "an argument is empty"),
        (["run", "missing.tif", "out", "--\x1b[31mred"], "No such option"),
        (["scene", "info", "https://h/a.tif", "--allow-remote=u:secret@h"], "'h' names no host"),
    ],
)
def test_bad_input_gets_one_line_and_exit_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    err = capsys.readouterr().err
    assert stop.value.code == 2, err
    assert said in err
    assert err.startswith("geoseg: ")
    assert err[:-1].isprintable()
    assert err[-1] == "\n"


def test_what_could_not_be_encoded_is_shown_if_it_is_a_name() -> None:
    name, request = "a\udcff.tif", "GET /é?sig=secret"
    assert repr(name) in _explain(UnicodeEncodeError("utf-8", name, 1, 2, "surrogates not allowed"))[0]
    assert "secret" not in _explain(UnicodeEncodeError("ascii", request, 5, 6, "ordinal not in range(128)"))[0]


@pytest.mark.parametrize("words", [[], ["scene"]])
def test_nothing_to_do_shows_the_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("Usage: geoseg")


def test_a_failure_of_the_system_is_no_bug_of_geoseg(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", "missing.tif", "n" * 300])
    assert stop.value.code == 1
    assert "File name too long; choose another place" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_any_verb_ends_it_with_130_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    rows = np.random.default_rng(0).integers(0, 2, (2000, 2000), dtype=np.uint8)
    make_raster(tmp_path / "map.tif", dtype="uint8", pixels=rows[None])
    words = ["polygons", str(tmp_path / "map.tif"), str(tmp_path / "out.gpkg")]
    command = [sys.executable, "-m", "geoseg", *words]
    # what starts the tests in the background may have told them to ignore SIGINT, which a child inherits
    heed = partial(signal.signal, number, signal.SIG_DFL)
    with subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=heed) as process:  # noqa: PLW1509 - no thread here
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline and not list(tmp_path.glob(".out.*")):
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert b"Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["map.tif"]


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["area", "missing.tif", "--debug"])
    assert "Traceback" in capsys.readouterr().err


def test_doctor_finds_nothing_wrong_here() -> None:
    done = run("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout
