"""Changes of NumPy's files of one array (.npy): of the header, which is text, and of the values."""

from __future__ import annotations

import io
import struct
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.fuzz.mutate.content import edge, mutated

_TYPES = (
    "<f4", "<f8", "<f2", "<i8", "<i4", "|b1", "|u1", "<U4", "<U0", "|S0", "|O", "<c8", "<M8[s]", "|V8", ">f4",
    "junk", [("a", "<f4"), ("b", "|O")], ("<f4", (2, 2)), None, 5
)  # fmt: skip


def array_file(array: NDArray[Any]) -> bytes:
    """Return the file of an array."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def mutated_array(content: bytes, random: Random) -> bytes:
    """Return a file with a few changes of header or values."""
    choice = random.randrange(8)
    if choice == 0:
        return mutated(content, random)
    (length,) = struct.unpack_from("<H", content, 8)
    header, data = content[10 : 10 + length], content[10 + length :]
    if choice == 1:
        return _file(mutated(header, random), data)
    if choice < 4:
        return _file(header, mutated(data, random))
    array = np.load(io.BytesIO(content))
    described: dict[str, Any] = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
    if choice == 4:
        described["descr"] = random.choice(_TYPES)
    elif choice == 5:
        described["shape"] = tuple(_side(random) for _ in range(random.randrange(5)))
    elif choice == 6:
        described["fortran_order"] = random.choice((True, 1, None))
        described["shape"] = tuple(reversed(array.shape))
    else:
        return array_file(_other_values(array, random))
    return _file(f"{described}\n".encode(), data)


def _file(header: bytes, data: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", min(65535, len(header))) + header + data


def _side(random: Random) -> int:
    return random.choice((0, 1, 2, -1, edge(random, random.choice((4, 8, 32, 64)))))


def _other_values(array: NDArray[Any], random: Random) -> NDArray[Any]:
    """Return an array of the same type and shape with one other value, or of other shape."""
    if random.random() < 0.3:
        return array.reshape(-1)[: random.randrange(array.size + 1)]
    changed = array.copy()
    if changed.size and changed.dtype.kind in "iuf":
        values = (0, -1, 1, 2**31, -(2**63)) if changed.dtype.kind != "f" else (np.nan, np.inf, -1, 0, 1e30, -0.0)
        with np.errstate(all="ignore"):
            value = np.asarray(random.choice(values)).astype(changed.dtype)
        changed.reshape(-1)[random.randrange(changed.size)] = value
    elif changed.dtype.kind == "U":
        changed = np.asarray(random.choice(("", "{}", "[]", "null", "1", '{"a": 1}', "[" * 5000)))
    return changed
