"""The house rules: the tree is what ARCHITECTURE.md says, rooms keep their libraries, nothing grows too big."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "geoseg"
SOURCES = sorted(path for folder in ("geoseg", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
MAX_LINES = 400
MAX_FUNCTION_LINES = 40
MAX_FILE_BYTES = 2**20
ALLOWED_IN_CORE = {"geoseg", "numpy", "scipy", "pyproj", "odc", "affine"}


def test_architecture_names_every_room() -> None:
    """Its table of rooms is the tree."""
    table = (ROOT / "ARCHITECTURE.md").read_text().split("## Rooms")[1].split("\n## ")[0]
    named = set(re.findall(r"^\| `([a-z_]+(?:/|\.py))` \|", table, flags=re.MULTILINE))
    folders = {f"{path.name}/" for path in PACKAGE.iterdir() if path.is_dir() and _holds_something(path)}
    modules = {path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("__")}
    assert named == folders | modules


def _holds_something(folder: Path) -> bool:
    return any(path.is_file() and "__pycache__" not in path.parts for path in folder.rglob("*"))


def test_imports_keep_the_contract() -> None:
    """Layers, siblings, and one heavy library per room."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_core_imports_only_arithmetic() -> None:
    """The list of what core may import is closed: a new library there is a decision."""
    foreign = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in (PACKAGE / "core").rglob("*.py")
        for name in _imported(path)
        if name not in ALLOWED_IN_CORE | sys.stdlib_module_names
    }
    assert foreign == set()


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_source_is_small(path: Path) -> None:
    """Files and functions, without their docstring, stay readable (ruff counts arguments)."""
    text = path.read_text()
    assert text.count("\n") <= MAX_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if len(node.body) > 1 and ast.get_docstring(node) else node.body[0]
            signature = node.body[0].lineno - node.lineno
            length = signature + (node.end_lineno or first.lineno) - first.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_says_what_belongs_in_it(path: Path) -> None:
    """Every source opens with a sentence."""
    tree = ast.parse(path.read_text())
    assert not tree.body or ast.get_docstring(tree)


def test_no_room_for_leftovers() -> None:
    """Names that say nothing are not used."""
    vague = {"utils", "helpers", "common", "manager", "base", "misc"}
    assert [path for path in SOURCES if path.stem in vague or path.parent.name in vague] == []


def _tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_only_weights_are_big() -> None:
    """A file above 1 MiB is a bundle's weights, and those stay below 16 MB."""
    big = {path: path.stat().st_size for path in _tracked() if path.stat().st_size > MAX_FILE_BYTES}
    assert all(path.suffix == ".safetensors" and PACKAGE / "bundles" in path.parents for path in big), big
    assert all(size <= 16_000_000 for size in big.values()), big


def test_no_address_of_a_machine() -> None:
    """Nothing in the repository points to one machine's folders or one network's registry."""
    forbidden = re.compile(rb"(?<![\w./~-])/(?:work|opt|home|root)/[a-z]|--(?:extra-)?index[-]url|find[-]links")
    found = [
        path.relative_to(ROOT).as_posix()
        for path in _tracked()
        if path.suffix in {".py", ".md", ".toml", ".yaml", ".lock", ".csv", ""} and path != Path(__file__)
        if forbidden.search(path.read_bytes())
    ]
    assert found == []


def test_nothing_is_left_undone() -> None:
    """No marker of unfinished work is in the sources."""
    marker = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b|NotImplemented" + "Error")
    assert [path for path in SOURCES if marker.search(path.read_text())] == []
