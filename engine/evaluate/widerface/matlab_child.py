"""Reads a MATLAB file in a process of its own: SciPy's reader is compiled code that a damaged file can crash.

engine.evaluate.widerface.matlab starts this file. Standard input is the MATLAB file. The arguments are the bytes of
memory and of output and the seconds that may be used, then the names of variables. Standard output is an object of
JSON: the variables as `encode` writes them, or the reason why there are none.
"""

from __future__ import annotations

import base64
import io
import json
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

KINDS = "biufcU"
"""Kinds of dtypes that an array may have: numbers and text."""


def encode(value: Any) -> Any:
    """Return an object of JSON for an array of numbers, text or cells; ValueError for other values."""
    if isinstance(value, np.ndarray) and value.dtype.kind in KINDS:
        return [value.dtype.str, value.shape, base64.b64encode(value.tobytes()).decode()]
    if isinstance(value, np.ndarray) and value.dtype == object:
        return ["cells", value.shape, [encode(cell) for cell in value.ravel()]]
    raise ValueError(f"it holds a {getattr(value, 'dtype', type(value).__name__)}, expected numbers, text or cells")


def main(memory: str, output: str, seconds: str, *variables: str) -> None:
    """Read standard input, write standard output."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for kind, limit in (
        (resource.RLIMIT_AS, used + int(memory)),
        (resource.RLIMIT_CPU, int(seconds)),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    try:
        content = loadmat(io.BytesIO(sys.stdin.buffer.read()), variable_names=variables)
        answer = {"variables": {name: encode(content[name]) for name in variables if name in content}}
        text = json.dumps(answer)
        if len(text) > int(output):
            raise ValueError("it unpacks to more than the ground truth of any data set")
    except Exception as error:  # SciPy's reader raises many kinds for damaged files
        text = json.dumps({"reason": f"{type(error).__name__}: {error}"})
    sys.stdout.write(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
