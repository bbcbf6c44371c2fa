"""docs/development/architecture.md's tables of who may use whom, against the imports and includes of the sources."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "development" / "architecture.md"
BASE = {"errors", "types", "files", "images", "version"}
MOST_SIBLINGS = 13

Graph = dict[str, set[str]]


def table(heading: str) -> Graph:
    """Read the table below a heading: names in the first column, the names in the last one that they may use."""
    section = DOCUMENT.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {name: set(re.findall(r"`([^`]+)`", row[-1])) for row in rows for name in re.findall(r"`([^`]+)`", row[0])}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    files = (ROOT / "engine").rglob("*.py")
    return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imports(file: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """The modules of this package that a module imports, also late ones and those for type checkers."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name != "engine._native":  # the compiled module
                    yield from {name if name in known else str(node.module)} & known.keys()
        elif isinstance(node, ast.Import):
            yield from {alias.name for alias in node.names} & known.keys()


def file_graph() -> Graph:
    """Modules, and the modules that they import."""
    known = modules()
    return {name: set(imports(file, known)) - {name} for name, file in known.items()}


def package_of(module: str) -> str:
    """The part of the package that a module is in: what follows "engine."; the facade is "engine"."""
    return module.split(".")[1] if "." in module else module


def package_graph() -> Graph:
    """Packages, and the packages that their modules import."""
    graph: Graph = {}
    for module, used in file_graph().items():
        graph.setdefault(package_of(module), set()).update(map(package_of, used))
    return {package: used - {package} for package, used in graph.items()}


def test_packages_use_what_the_table_says_and_nothing_else() -> None:
    documented, found = table("Packages"), package_graph()
    assert documented.keys() == found.keys() - BASE - {"__main__"}
    for package, allowed in documented.items():
        assert found[package] - BASE == allowed, package


def test_base_modules_use_only_each_other() -> None:
    assert all(package_graph()[name] <= BASE for name in BASE)


@pytest.mark.parametrize("graph", [file_graph, package_graph], ids=["files", "packages"])
def test_nothing_imports_in_a_circle(graph: object) -> None:
    assert callable(graph)
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        pytest.fail(f"imports go in a circle: {' -> '.join(error.args[1])}")


def includes(file: Path) -> set[str]:
    """The folders of this project that a C++ source includes from, its own left out."""
    own = str(file.parent.relative_to(ROOT)).removeprefix("csrc/")
    found = {str(Path(name).parent) for name in re.findall(r'^#include "([^"]+)"', file.read_text(), re.M)}
    return found - {own, "."}


def test_c_sources_include_what_the_table_says_and_nothing_else() -> None:
    documented = table("C++ sources")
    found: Graph = {name: set() for name in documented}
    for root in ("csrc", "plugins"):
        for file in (ROOT / root).rglob("*"):
            if file.suffix in (".h", ".cuh", ".cpp", ".cu"):
                folder = str(file.parent.relative_to(ROOT)).removeprefix("csrc/")
                assert folder in documented, file
                found[folder] |= includes(file)
    assert found == documented


def test_folders_stay_small_enough_to_look_through() -> None:
    """Of sources that belong together; headers and their implementations count once."""
    folders = [
        folder for root in ("engine", "csrc", "plugins") for folder in (ROOT / root).rglob("*") if folder.is_dir()
    ]
    for folder in [*folders, ROOT / "engine", ROOT / "plugins"]:
        stems = {file.stem for file in folder.iterdir() if file.suffix in (".py", ".h", ".cuh", ".cpp", ".cu")}
        assert len(stems - {"__init__"}) <= MOST_SIBLINGS, folder
