"""MATLAB files from outside: the published ones, known by their digests, are read here, others in a child process."""

from __future__ import annotations

import base64
import importlib
import io
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import EvaluationError
from engine.files import sha256_of
from engine.untrusted.arrays import refuse_impossible_text
from engine.untrusted.files import read_file
from engine.untrusted.json_text import check_number_of_values, count_values
from engine.untrusted.limits import MAX_MATLAB_BYTES, MAX_MATLAB_MEMORY_BYTES, MAX_MATLAB_OUTPUT_BYTES

# WIDER FACE's ground truth of the validation set: SciPy has read these very bytes before.
_PUBLISHED = {
    "1dfe6a9853950f9dde256b5e8bb75d8f272e6bc02a15ae1968f5a9b883f458cb",  # wider_face_val.mat
    "c2fb672d16f75653eb89fb8bc437a7d060896a71cd7a65c1a5a3e4479024099c",  # wider_easy_val.mat
    "4a031970bc132cef5cfacd05068aabcf4fe15d4a31a1e9f4f00eb134fdf449c1",  # wider_medium_val.mat
    "bb1af19dc5bc4dd9517dd8ae8096326c68175f2c3411763bdd4f23fa98638b78",  # wider_hard_val.mat
}
_CHILD = Path(__file__).with_name("matlab_child.py")
_KIND = re.compile(r"[<>|][biufcU]\d{1,9}")  # names of NumPy's types that matlab_child.encode writes
_SECONDS = 6  # of a core; the published files take 0.3, starting Python included


def read_variables(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Read variables of a MATLAB file: arrays of numbers, text or cells.

    Returns:
        Those of `names` that the file has.

    Raises:
        EvaluationError: the file cannot be read, is damaged, or holds other things.
    """
    importlib.import_module("scipy.io")  # the child needs it too: here it is missed with the usual message
    try:
        content = read_file(path, MAX_MATLAB_BYTES)
        if sha256_of(content) in _PUBLISHED:
            return _read_here(content, names)
        return _read_in_child(content, names)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise EvaluationError(f"{path} cannot be read as a MATLAB file (version 4 to 7.2): {reason}") from error


def _read_here(content: bytes, names: tuple[str, ...]) -> dict[str, Any]:
    from scipy.io import loadmat

    found = loadmat(io.BytesIO(content), variable_names=names)
    return {name: found[name] for name in names if name in found}


def _read_in_child(content: bytes, names: tuple[str, ...]) -> dict[str, Any]:
    """Read variables in a child process; ValueError gives the reason why they cannot be read."""
    limits = map(str, (MAX_MATLAB_MEMORY_BYTES, MAX_MATLAB_OUTPUT_BYTES, _SECONDS))
    command = [sys.executable, str(_CHILD), *limits, *names]
    with tempfile.TemporaryFile() as output:
        try:
            ended = subprocess.run(
                command, input=content, stdout=output, stderr=subprocess.DEVNULL, timeout=2 * _SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise ValueError(f"it is damaged: reading it takes more than {2 * _SECONDS} seconds") from None
        if ended.returncode:
            raise ValueError(f"it is damaged: SciPy's reader ended with status {ended.returncode}")
        output.seek(0)
        try:
            text = output.read()
            check_number_of_values(count_values(text))
            answer = json.loads(text)
            if "reason" not in answer:
                return {name: _decode(value) for name, value in answer["variables"].items()}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"it is damaged: SciPy's reader answers what cannot be read: {error}") from error
    raise ValueError(ascii(answer["reason"])[1:201])


def _decode(value: Any) -> np.ndarray[Any, Any]:
    """Return the array that matlab_child.encode encoded."""
    kind, shape, data = value
    if kind != "cells":
        if not _KIND.fullmatch(kind):
            raise ValueError(f"an array of type {kind!r:.80}")
        array = np.frombuffer(base64.b64decode(data), np.dtype(kind)).reshape(shape)
        refuse_impossible_text(array)
        return array
    cells = np.empty(len(data), object)
    for index, cell in enumerate(data):
        cells[index] = _decode(cell)
    return cells.reshape(shape)
