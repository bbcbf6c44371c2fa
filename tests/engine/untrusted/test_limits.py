"""The page on security names every limit, with its value."""

from __future__ import annotations

import re
from pathlib import Path

from engine.untrusted import limits

_PAGE = Path(__file__).resolve().parents[3] / "docs/security.md"
_UNITS = {"GiB": limits.GIB, "MiB": limits.MIB, "pixels": 1, "characters": 1, "": 1}


def test_the_page_on_security_has_every_limit() -> None:
    rows = re.findall(r"^\|[^|]*\| (\d+) ?(\w*) \| `(MAX_\w+)` \|$", _PAGE.read_text(), re.MULTILINE)
    shown = {name: int(number) * _UNITS[unit] for number, unit, name in rows}
    assert shown == {name: value for name, value in vars(limits).items() if name.startswith("MAX_")}
