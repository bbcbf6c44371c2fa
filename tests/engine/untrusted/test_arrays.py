"""Text with numbers that are no characters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.untrusted.archives import read_arrays
from engine.untrusted.arrays import refuse_impossible_text


@pytest.mark.parametrize("order", "<>")
def test_only_what_can_be_text_is_text(order: str) -> None:
    refuse_impossible_text(np.full(3, 2**32 - 1, f"{order}u4"))  # no text
    texts: list[Any] = [["a", "\U0010ffff"], "é", [[], []]]
    for text in texts:
        refuse_impossible_text(np.array(text, f"{order}U2"))
    with pytest.raises(InvalidArgumentError, match="holds text with numbers that are no characters"):
        refuse_impossible_text(_impossible(order))


def _impossible(order: str) -> NDArray[Any]:
    return np.array([[65, 0x110000]], f"{order}u4").view(f"{order}U2")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_stored_arrays_are_looked_at(tmp_path: Path, save: Callable[..., None]) -> None:
    save(tmp_path / "a.npz", key=_impossible("<"))
    with pytest.raises(InvalidArgumentError, match=r"'key.npy', which holds text with numbers that are no characters"):
        read_arrays(tmp_path / "a.npz")
