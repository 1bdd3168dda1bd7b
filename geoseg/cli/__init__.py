"""The command line: parse, load values, one call, print. Verbs are imported when they are used."""

import errno
import importlib
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import click

from geoseg import __version__
from geoseg.errors import GeosegError


class Verb(NamedTuple):
    """Where a verb lives, and its line in the help."""

    module: str
    attribute: str
    help: str


VERBS = {
    "run": Verb("run", "run", "Scene in; class map, polygons, areas and report out."),
    "plan": Verb("run", "plan", "What `run` would do: tiles, memory, outputs, time."),
    "demo": Verb("demo", "demo", "Make the embedded scene, whose true area is known, and run it."),
    "tile": Verb("stages", "tile", "Cut a scene into overlapping patches with an index."),
    "predict": Verb("stages", "predict", "Score patches with a model."),
    "stitch": Verb("stages", "stitch", "Blend scores back into one class map."),
    "polygons": Verb("polygons", "polygons", "Vectorize a class map: GPKG, GeoParquet, FlatGeobuf, GeoJSON."),
    "area": Verb("area", "area", "Ellipsoidal area by class and zone; patch counts."),
    "sample": Verb("sample", "sample", "Stratified reference sample of a class map, ready to be labelled."),
    "assess": Verb("assess", "assess", "Accuracy and error-adjusted area of a class map from a labelled sample."),
    "change": Verb("change", "change", "Gain, loss and the full matrix of change between two class maps."),
    "mosaic": Verb("mosaic", "mosaic", "Class maps that overlap or adjoin made one: a COG or a VRT."),
    "report": Verb("report", "report", "The page of a finished run or change, made again from what it left."),
    "scene": Verb("scene", "scene", "What is found in a scene: bands, grid, radiometry."),
    "batch": Verb("batch", "batch", "An archive of scenes: plan, run, status, failures, report, repair, script."),
    "models": Verb("models", "models", "Architectures to train: parameters, margin, licence, source, options."),
    "bundle": Verb("bundle", "bundle", "Model bundles: info, verify, pack, export to ONNX, torch.export, OpenVINO."),
    "train": Verb("train", "train", "Train a model and pack it as a bundle."),
    "evaluate": Verb("evaluate", "evaluate", "How well a bundle maps labelled images; temperature; seams."),
    "doctor": Verb("doctor", "doctor", "Versions, devices, drivers; what is missing and how to mend it."),
}


class LazyGroup(click.Group):
    """A group whose verbs are imported on use, so that --help stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order of the work."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the verb."""
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        command = getattr(importlib.import_module(f"geoseg.cli.{verb.module}"), verb.attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"geoseg.cli.{verb.module}.{verb.attribute} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.help) for name, verb in VERBS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="geoseg")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def app(ctx: click.Context, debug: bool) -> None:
    """From a satellite scene to an area figure that can be defended.

    Inputs first, output last. Results go to stdout, messages to stderr.
    Exit codes: 0 done, 1 environment or internal failure, 2 usage or input refused,
    3 a batch with failed scenes, 4 a batch stopped by policy, 130 interrupted.
    """
    ctx.obj = {"debug": debug}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with its code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    # --debug is accepted anywhere, as users type it last
    words = (["--debug"] if debug else []) + [word for word in words if word != "--debug"]
    with _terminable():
        code = _run(words, debug=debug) if all(words) else _fail("an argument is empty: is a shell variable unset?", 2)
    sys.exit(code)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM unwinds like Ctrl-C, so that every verb removes what it was making, planning and imports included."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def _run(words: list[str], *, debug: bool) -> int:
    """The exit code; every failure becomes one line on stderr."""
    try:
        outcome: Any = app.main(words, prog_name="geoseg", standalone_mode=False)
        return outcome if isinstance(outcome, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt) as stop:
        reason = str(stop.__cause__ or stop) or "interrupted: nothing half made is left"
        return _fail(reason, 130)
    except click.UsageError as error:
        return _refuse(error)
    except click.ClickException as error:
        return _fail(error.format_message(), 2)
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _fail(*_explain(error))


def _refuse(error: click.UsageError) -> int:
    """Says what is wrong with the words; the help itself where there were none."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return 2
    where = f"{error.ctx.command_path} --help" if error.ctx else "geoseg --help"
    return _fail(f"{error.format_message()} (see {where})", 2)


def _explain(error: Exception) -> tuple[str, int]:
    """(message, exit code) of an exception."""
    text = " ".join(str(error).split())
    if isinstance(error, GeosegError):
        return text, error.exit_code
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":  # so has a name not UTF-8
        return f"a name is not UTF-8 text ({error.object!r}): use another name", 2
    if isinstance(error, MemoryError):
        return "out of memory: give --set-config panel_width=1024 or --set tiling.tile=256", 1
    if isinstance(error, OSError) and error.strerror:
        return _explain_system(error), 1
    kind = type(error).__name__
    return f"internal error, {kind}: {text}; please report it with the output of --debug", 1


def _explain_system(error: OSError) -> str:
    """What the operating system refused, and the remedy."""
    place = error.filename or "a file"
    if error.errno == errno.ENOSPC:
        return f"disk full: {place}; free space and run the same command again"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"no permission: {place}; choose another place or ask for the right"
    return f"{place}: {error.strerror}; choose another place"


def _fail(message: str, code: int) -> int:
    # names and the words of servers may hold sequences that a terminal obeys
    click.echo("geoseg: " + "".join(one if one.isprintable() else " " for one in message), err=True)
    return code
