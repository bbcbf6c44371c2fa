"""The tensors that a checkpoint's pickle describes. Their values are read when they are asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from engine.errors import InvalidArgumentError
from engine.untrusted.limits import MAX_CHECKPOINT_BYTES
from engine.untrusted.pickle_reader import Describe, Foreign, Global

if TYPE_CHECKING:
    import torch

# Bytes of an element, by the name of its type in PyTorch.
_ITEM_BYTES = {
    **dict.fromkeys(("uint8", "int8", "bool", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"), 1),
    **dict.fromkeys(("uint16", "int16", "float16", "bfloat16"), 2),
    **dict.fromkeys(("uint32", "int32", "float32"), 4),
    **dict.fromkeys(("uint64", "int64", "float64", "complex64"), 8),
    "complex128": 16,
}
# The class of a storage says what its elements are.
_STORAGES = {
    "UntypedStorage": "uint8",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "BoolStorage": "bool",
    "ShortStorage": "int16",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "IntStorage": "int32",
    "FloatStorage": "float32",
    "LongStorage": "int64",
    "DoubleStorage": "float64",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    # Of quantized tensors, which are not read: only their sizes matter.
    "QInt8Storage": "int8",
    "QUInt8Storage": "uint8",
    "QUInt4x2Storage": "uint8",
    "QUInt2x4Storage": "uint8",
    "QInt32Storage": "int32",
}
_MOST_DIMENSIONS = 16


@dataclass(slots=True)
class Storage:
    """The memory of one or more tensors: its name in the file, and its size in elements of a type."""

    key: str
    dtype: str
    elements: int

    @property
    def nbytes(self) -> int:
        """The size in bytes."""
        return self.elements * _ITEM_BYTES[self.dtype]

    @property
    def number_bytes(self) -> int:
        """The size of a number: a complex element has two."""
        return _ITEM_BYTES[self.dtype] // (2 if self.dtype.startswith("complex") else 1)


class Values(Protocol):
    """A checkpoint's values."""

    def bytes_of(self, storage: Storage) -> torch.Tensor:
        """Return what a storage holds: uint8 [storage.nbytes], in this machine's order of bytes, aligned.

        It is the same memory every time. InvalidArgumentError if the file does not have it.
        """
        ...


@dataclass(slots=True)
class StoredTensor:
    """A tensor of a checkpoint: a view of a storage, which may be larger.

    Attributes:
        values: that it is a view of.
        storage: the part of them.
        kind: type of the elements, a name of PyTorch.
        offset: of the first element.
        shape: as the file claims it.
        strides: in elements.
        is_negated: the values of the storage have the other sign.
    """

    values: Values
    storage: Storage
    kind: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    is_negated: bool

    @property
    def dtype(self) -> torch.dtype:
        """The type of the elements."""
        import torch

        dtype: torch.dtype = getattr(torch, self.kind)
        return dtype

    def load(self) -> torch.Tensor:
        """Return the tensor, whose memory may be that of the file and of other tensors.

        Raises:
            InvalidArgumentError: it is larger than its storage, or the storage is larger than what the file has.
        """
        import torch

        if math.prod(max(1, size) for size in self.shape) > MAX_CHECKPOINT_BYTES:
            raise InvalidArgumentError(f"has a tensor of shape {self.shape}")
        if not all(self.shape):
            return torch.empty(self.shape, dtype=self.dtype)
        item = _ITEM_BYTES[self.kind]
        last = sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        begin, end = self.offset * item, (self.offset + last + 1) * item
        if end > self.storage.nbytes:
            raise InvalidArgumentError(f"has a tensor that ends at byte {end:,} of {self.storage.nbytes:,}")
        elements = self.values.bytes_of(self.storage)[begin:end]
        tensor = elements.view(self.dtype).as_strided(self.shape, self.strides)
        return -tensor if self.is_negated else tensor


class Objects:
    """Describes the objects of PyTorch in a pickle.

    Attributes:
        storages: that the pickle mentions, by their keys.
    """

    def __init__(self, values: Values) -> None:
        """Describe tensors that are views of these values."""
        self.storages: dict[str, Storage] = {}
        self._values = values

    def understood(self) -> dict[tuple[str, str], Describe]:
        """Return the functions that describe objects, for a PickleReader."""
        return {
            ("torch", "Size"): _first,
            ("torch._utils", "_rebuild_parameter"): _first,
            ("torch._utils", "_rebuild_parameter_with_state"): _first,
            ("torch._utils", "_rebuild_tensor"): self._tensor,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_tensor_v3"): self._typed_tensor,
            ("torch._tensor", "_rebuild_from_type_v2"): self._subclass,
        }

    def persistent(self, reference: object) -> object:
        """Describe a storage. Files of the old form also refer to the classes of modules."""
        match reference:
            case ("storage", Global() as kind, str() as key, _, int() as elements, *_) if elements >= 0:
                if reference[5:6] not in ((), (None,)):
                    raise ValueError("a part of a storage, as before PyTorch 0.4")
                dtype = _STORAGES.get(kind.name)
                if dtype is None:
                    return Foreign(kind)
                storage = self.storages.setdefault(key, Storage(key, dtype, elements))
                if (storage.dtype, storage.elements) != (dtype, elements):
                    raise ValueError("two storages of one name")
                return storage
            case ("module", Global() as kind, *_):
                return kind
        raise ValueError("an unknown reference")

    def _tensor(self, arguments: tuple[Any, ...]) -> object:
        """Describe the arguments storage, offset, shape, strides, requires_grad, hooks, flags."""
        storage = arguments[0]
        kind = storage.dtype if type(storage) is Storage else ""
        return self._view(arguments[:4], kind, arguments[6:7])

    def _typed_tensor(self, arguments: tuple[Any, ...]) -> object:
        """Describe the same arguments with a type before the flags."""
        kind = arguments[6]
        return self._view(arguments[:4], kind.name if type(kind) is Global else "", arguments[7:8])

    def _view(self, view: tuple[Any, ...], kind: str, flags: tuple[Any, ...]) -> object:
        storage, offset, shape, strides = view
        if type(storage) is not Storage or kind not in _ITEM_BYTES:
            return Foreign(Global("torch._utils", "_rebuild_tensor"))
        if not (_are_sizes((offset,)) and _are_sizes(shape) and _are_sizes(strides) and len(shape) == len(strides)):
            raise ValueError("no tensor")
        is_negated = any(type(flag) is dict and flag.get("neg") is True for flag in flags)
        return StoredTensor(self._values, storage, kind, offset, shape, strides, is_negated)

    def _subclass(self, arguments: tuple[Any, ...]) -> object:
        """Describe a tensor of another class, or with attributes: function, class, arguments, state."""
        function, _, of_tensor = arguments[:3]
        if type(function) is Global and type(of_tensor) is tuple:
            describe = self.understood().get((function.module, function.name))
            if describe is not None and describe != self._subclass:
                return describe(of_tensor)
        return Foreign(function)


def _first(arguments: tuple[Any, ...]) -> object:
    return arguments[0]


def _are_sizes(values: object) -> bool:
    return (
        type(values) is tuple
        and len(values) <= _MOST_DIMENSIONS
        and all(type(value) is int and value >= 0 for value in values)
    )
