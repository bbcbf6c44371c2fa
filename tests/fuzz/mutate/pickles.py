"""Changes of pickles, operation by operation."""

from __future__ import annotations

import argparse
import pickle
import pickletools
from random import Random

from tests.fuzz.mutate.content import edge, few

_GLOBALS = {
    "os": "system",
    "builtins": "eval exec bytearray getattr",
    "_codecs": "encode",
    "collections": "OrderedDict",
    "torch": "FloatStorage DoubleStorage BoolStorage Size device Tensor float32",
    "torch._tensor": "_rebuild_from_type_v2",
    "torch._utils": "_rebuild_tensor _rebuild_tensor_v2 _rebuild_parameter _rebuild_sparse_tensor _rebuild_qtensor "
    "_rebuild_nested_tensor "
    "_rebuild_device_tensor_from_numpy _rebuild_meta_tensor_no_storage _rebuild_wrapper_subclass",
    "torch.nn.parameter": "Parameter",
    "torch.storage": "UntypedStorage TypedStorage",
    "numpy": "dtype",
    "argparse": "Namespace",
    "models.retinaface": "RetinaFace",
    "numpy._core.multiarray": "_reconstruct",
    "numpy.core.multiarray": "scalar",
}
"""Names that a pickle may ask for, by module: some that checkpoints need, and others."""
_NAMES = [f"{module}\n{name}\n".encode() for module, names in _GLOBALS.items() for name in names.split()]
_OPERATIONS = tuple(bytes([code]) for code in b"(.0123N)}]lateusbRo\x85\x86\x87\x88\x89\x94\x81\x8f\x90\x91\x93Qd")
_FOREIGN = (argparse.Namespace(lr=0.1), {1, 2}, frozenset((3,)), 2.5, b"x" * 300, bytearray(9), 1 << 3000, range(3))
_KEYS = (
    b"", b"0", b"1", b"cpu", b"cuda:0", b"meta", b"storage", b"state_dict", b"../x", b"a" * 3000, b"\x1b[31m",
    b"body.stage1.0.0.weight"
)  # fmt: skip


def mutated_pickle(content: bytes, random: Random) -> bytes:
    """Return a pickle with a few changes of its operations; one that has none is changed no further."""
    operations = _operations(content)
    for _ in range(few(random, 5)):
        if operations:
            _change(operations, random)
    return b"".join(operations)


def _operations(content: bytes) -> list[bytes]:
    starts = [at for _, _, at in pickletools.genops(content) if at is not None]
    return [content[at:end] for at, end in zip(starts, [*starts[1:], len(content)], strict=True)]


def _change(operations: list[bytes], random: Random) -> None:
    at = random.randrange(len(operations))
    kind = random.randrange(10)
    if kind == 0:
        del operations[at]
    elif kind == 1:
        operations[at:at] = [operations[at]] * random.choice((1, 2, 1000))
    elif kind == 2:
        other = random.randrange(len(operations))
        operations[at], operations[other] = operations[other], operations[at]
    elif kind == 3:
        operations.insert(at, random.choice((*_OPERATIONS, _integer(random), _text(random), _global(random))))
    elif kind == 4:
        operations[at:at] = _repeated(random)
    elif kind == 5:
        operations[at:at] = _operations(pickle.dumps(random.choice(_FOREIGN), random.randint(2, 5)))[1:-1]
    else:
        operations[at] = _alike(operations[at], random)


def _alike(operation: bytes, random: Random) -> bytes:
    """Return an operation of a like kind with another argument."""
    code = operation[:1]
    if code in (pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.NEWTRUE, pickle.NEWFALSE):
        return _integer(random)
    if code in (pickle.BINUNICODE, pickle.SHORT_BINUNICODE):
        return _text(random)
    if code == pickle.GLOBAL:
        return _global(random)
    if code in (pickle.BINGET, pickle.BINPUT):
        return code + bytes([random.getrandbits(8)])
    if code in (pickle.LONG_BINGET, pickle.LONG_BINPUT):
        return code + edge(random, 32).to_bytes(4, "little")
    if code == pickle.BINFLOAT:
        return code + random.randbytes(8)
    return random.choice(_OPERATIONS)


def _repeated(random: Random) -> list[bytes]:
    """Return operations that repeat the object before them, each time in a new one or as a function's argument."""
    index = bytes([random.getrandbits(8)])
    put, get = pickle.BINPUT + index, pickle.BINGET + index
    how = random.choice(
        (
            (get, get, pickle.TUPLE2, put),
            (pickle.EMPTY_LIST, get, pickle.APPEND, put),
            (_global(random), get, pickle.TUPLE1, pickle.REDUCE),
            (_global(random), get, pickle.NEWOBJ),
            (get, get, pickle.STACK_GLOBAL),
            (pickle.EMPTY_DICT, get, get, pickle.SETITEM),
        )
    )
    return [put, *how * random.choice((1, 3, 1000))]


def _integer(random: Random) -> bytes:
    if random.random() < 0.5:
        return pickle.BININT + edge(random, 32).to_bytes(4, "little")
    size = random.choice((1, 8, 9))
    return pickle.LONG1 + bytes([size]) + edge(random, 64).to_bytes(8, "little")[:size].ljust(size, b"\0")


def _text(random: Random) -> bytes:
    text = random.choice(_KEYS)
    return pickle.BINUNICODE + len(text).to_bytes(4, "little") + text


def _global(random: Random) -> bytes:
    return pickle.GLOBAL + random.choice(_NAMES)
