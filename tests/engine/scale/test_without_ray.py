"""engine.scale where Ray is not installed."""

from __future__ import annotations

import importlib
import importlib.util
import sys

import pytest

from engine.errors import RetinaFaceError

_find_spec = importlib.util.find_spec


@pytest.mark.parametrize("missing", ["ray", "pyarrow", "starlette"])
def test_the_import_says_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else _find_spec("json"))
    monkeypatch.delitem(sys.modules, "engine.scale", raising=False)
    words = rf"engine\.scale needs {missing}, which is not installed: pip install 'retinaface-trt\[scale\]'"
    with pytest.raises(RetinaFaceError, match=words):
        importlib.import_module("engine.scale")
