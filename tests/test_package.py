"""The shape of the package: who imports whom, how long files are, what ships."""

import ast
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT, first

import xentcli
from xentcli.load import sources

PACKAGE = ROOT / "xentcli"
FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES
}


def imports(path: Path) -> set[str]:
    """Name every module that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            submodules = named & MODULES.keys()
            found |= submodules | ({node.module} if len(submodules) < len(named) else set())
    return found


# Who may import whom: a room imports rooms of its own floor, in no circle, and of the floors below it.
FLOORS = (
    {"__main__"},
    {"cli", "testing", "api", "bridge"},  # testing shows a report as the terminal does
    {"show"},
    {"check", "diagnose", "explain", "identify", "atlas", "new", "sweep"},
    {"load", "run", "judge"},
    {"methods", "frameworks", "bulk"},
    {
        "model",
        "enclosures",
        "formats",
        "digits",
        "identifiers",
        "words",
        "errors",
        "arrays",
        "process",
        "threads",
        "streams",
    },
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
GRAPH = {
    name: {other for other in imports(path) if other in MODULES and other not in {name, "xentcli"}}
    for name, path in MODULES.items()
}


def room(module: str) -> str:
    return module.split(".")[1]


def test_every_module_has_a_floor_and_every_room_is_there() -> None:
    assert {room(name) for name in MODULES if name != "xentcli"} == FLOOR_OF.keys()


@pytest.mark.parametrize("name", GRAPH, ids=str)
def test_imports_point_down(name: str) -> None:
    if name == "xentcli":
        return
    upwards = {other for other in GRAPH[name] if FLOOR_OF[room(other)] < FLOOR_OF[room(name)]}

    assert upwards == set()


def test_imports_run_in_no_circle() -> None:
    rooms: dict[str, set[str]] = {}
    for name, others in GRAPH.items():
        if name != "xentcli":
            rooms.setdefault(room(name), set()).update({room(other) for other in others} - {room(name)})

    assert list(TopologicalSorter(GRAPH).static_order())
    assert list(TopologicalSorter(rooms).static_order())


def test_the_top_has_17_modules_at_most() -> None:
    assert len([path for path in FILES if path.parent == PACKAGE]) <= 17


@pytest.mark.parametrize(
    ("library", "alone"),
    first(
        1,
        [
            ("click", "cli"),
            ("yaml", "load/document.py"),
            ("rich", "show/table.py"),
            ("numba", "bulk/kernels.py"),
            ("altair", "show/charts.py"),
            ("vl_convert", "show/charts.py"),
        ],
    ),
)
def test_a_library_has_one_door(library: str, alone: str) -> None:
    users = [path for path in FILES if any(name.split(".")[0] == library for name in imports(path))]

    assert {path for path in users if not path.is_relative_to(PACKAGE / alone)} == set()
    assert users


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_stays_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_the_cases_ship_inside_the_wheel_and_the_types_too() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        wheel = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]

    assert wheel == {"packages": ["xentcli"], "force-include": {"cases": "xentcli/cases"}}
    assert (PACKAGE / "py.typed").exists()


def test_a_checkout_uses_the_cases_beside_the_package() -> None:
    assert sources.home() == ROOT / "cases"
    assert len(sources.bundled()) >= 45
    assert xentcli.__version__.count(".") == 2
