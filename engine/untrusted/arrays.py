"""Arrays of text from outside."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError


def refuse_impossible_text(array: NDArray[Any]) -> None:
    """Raise InvalidArgumentError for text with numbers that are no characters: Python fails when it joins such text.

    Args:
        array: contiguous, of any type.
    """
    if array.dtype.kind == "U" and array.size:
        codes = array.reshape(-1).view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
        if int(codes.max()) > sys.maxunicode:
            raise InvalidArgumentError("holds text with numbers that are no characters")
