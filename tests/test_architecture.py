"""The claims of docs/development/architecture.md about imports, includes, folders and files, against the sources."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "development" / "architecture.md"
BASE = {"errors", "files", "images", "progress", "text", "threads", "types", "untrusted", "version", "writing"}
MOST_SIBLINGS = 12
SOURCES = (".py", ".h", ".cuh", ".cpp", ".cu", ".md")

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
    names = re.findall(r'^#include "([^"]+)"', file.read_text(), re.M)
    paths = [Path("plugins", name) if (ROOT / "plugins" / name).exists() else Path(name) for name in names]
    return {str(path.parent) for path in paths} - {own, "."}  # NvInfer.h has no folder


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


def test_only_ops_imports_the_compiled_module() -> None:
    users = {
        name for name, file in modules().items() if re.search(r"\bimport _native\b|_native import", file.read_text())
    }
    assert users == {"engine.ops"}


def test_only_one_package_writes_files() -> None:
    """Others would leave half a file on a full disk. Tables of NumPy and plots go through memory."""
    named = re.compile(
        r"""\.write_(text|bytes)\(|\bopen\([^)\n]*["'][rb]*[wax+]|\bimwrite\(|\bos\.(replace|rename|open)\(|"""
        r"""\b(mkstemp|mkdtemp|NamedTemporaryFile|TemporaryDirectory)\("""
    )
    writers = {package_of(name) for name, file in modules().items() if named.search(file.read_text())}
    assert writers == {"writing", "untrusted"}  # which opens for reading


def test_durations_do_not_follow_the_clock_on_the_wall() -> None:
    """It may be set while they are measured. One module says when a measurement was made."""
    on_the_wall = re.compile(
        r"\btime\.(time|time_ns|localtime|gmtime)\(|\bfrom time import .*\btime\b|\bdatetime\.\w*now\("
    )
    users = {name for name, file in modules().items() if on_the_wall.search(file.read_text())}
    assert users == {"engine.bench.analysis.environment"}
    sources = [file for root in ("csrc", "plugins") for file in (ROOT / root).rglob("*") if file.suffix in SOURCES]
    assert not [file for file in sources if re.search(r"\b(system_clock|gettimeofday)\b", file.read_text())]


def test_folders_stay_small_enough_to_look_through() -> None:
    """Headers and their implementations count once; the tests of a file count as one."""
    roots = [ROOT / name for name in ("engine", "csrc", "plugins", "tests", "benchmarks", "tools")]
    for folder in [*roots, *(path for root in roots for path in root.rglob("*") if path.is_dir())]:
        stems = {file.stem for file in folder.iterdir() if file.suffix in SOURCES[:-1]}
        assert len(stems - {"__init__", "conftest"}) <= MOST_SIBLINGS, folder


def test_files_that_pages_and_comments_name_exist() -> None:
    """Paths from the root. NAME stands for several files; tests of packaging invent some."""
    named = re.compile(
        r"(?<![\w/.-])(?:engine|csrc|plugins|tests|benchmarks|docs|scripts|cmake|tools)/[\w/.-]+\.(?:py|md|h|cuh|cpp|cu|cmake)\b"
    )
    files = [ROOT / "Makefile", ROOT / "CMakeLists.txt", *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for root in ("engine", "csrc", "plugins", "tests", "benchmarks", "scripts", "tools"):
        files += [file for file in (ROOT / root).rglob("*") if file.suffix in SOURCES]
    missing = {
        f"{file.relative_to(ROOT)}: {path}"
        for file in files
        for path in named.findall(file.read_text())
        if "NAME" not in path and "packaging" not in file.parts and not (ROOT / path).exists()
    }
    assert not missing
