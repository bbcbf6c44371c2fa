"""Prints the requirements of extras and dependency groups of this project: `requirements.py NAME ...`.

The name "base" stands for the requirements without extras. pip alone cannot do this: it installs requirements only
together with the project, and supports dependency groups only since 25.1.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib


def requirements(pyproject: Path, names: Sequence[str]) -> list[str]:
    """Return the requirements of the extras and groups with these names in a pyproject.toml.

    Raises:
        SystemExit: there is no extra or group with such a name.
    """
    content: dict[str, Any] = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    project = content["project"]
    known = {"base": project["dependencies"], **project["optional-dependencies"], **content["dependency-groups"]}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"There is no extra {', '.join(unknown)}; there are: {', '.join(sorted(known))}.")
    return [requirement for name in names for requirement in known[name]]


if __name__ == "__main__":
    print(*requirements(Path(__file__).parent.parent / "pyproject.toml", sys.argv[1:]), sep="\n")
