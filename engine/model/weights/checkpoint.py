"""Reads PyTorch's checkpoints without PyTorch's reader: its zip archives, and the form before PyTorch 1.6."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from engine.errors import InvalidArgumentError
from engine.model.weights.stored import Objects, Storage
from engine.untrusted.archives import Archive
from engine.untrusted.limits import MAX_CHECKPOINT_BYTES, MAX_PICKLE_BYTES, MIB
from engine.untrusted.pickle_reader import PickleReader

if TYPE_CHECKING:
    import torch

_ZIP_START = b"PK"
_PICKLE = "data.pkl"
_ORDERS = {b"little": False, b"big": True}
_OLD_MAGIC = 0x1950A86A20F9469CFC6C
_OLD_VERSION = 1001
_OLD_COUNT_BYTES = 8
_ALIGNMENT = 16  # of the widest element


def read_checkpoint(content: memoryview) -> Any:
    """Return what a checkpoint holds: dicts, lists and numbers as they are, tensors as StoredTensor, all else inert.

    Args:
        content: of the file, in memory that may be written to: it becomes the tensors' memory where they lie in it as
            they are.

    Raises:
        InvalidArgumentError: it is no checkpoint, or damaged, or larger than is allowed; the message does not contain
            its name.
    """
    return (_Zipped if content[:2] == _ZIP_START else _Old)(content).read()


class _Form(ABC):
    """A checkpoint of one of the forms. What it holds refers to it, and it not to what it holds: so its memory is free
    as soon as nobody has a tensor of it any more.

    Attributes:
        big_endian: order of bytes in the values.
    """

    big_endian = False

    def __init__(self, content: memoryview) -> None:
        self._content = content
        self._known: dict[str, torch.Tensor] = {}

    @abstractmethod
    def read(self) -> Any:
        """Return what the checkpoint holds."""

    def bytes_of(self, storage: Storage) -> torch.Tensor:
        known = self._known.get(storage.key)
        if known is None:
            known = self._known[storage.key] = self._usable(self._found(storage), storage)
        return known

    @abstractmethod
    def _found(self, storage: Storage) -> torch.Tensor:
        """Return the values of a storage as they are in the file."""

    def _usable(self, values: torch.Tensor, storage: Storage) -> torch.Tensor:
        if self.big_endian:
            return values.reshape(-1, storage.number_bytes).flip(1).reshape(-1)
        return values.clone() if values.data_ptr() % _ALIGNMENT else values

    def _view(self, begin: int, size: int) -> torch.Tensor:
        import torch

        return torch.frombuffer(self._content, dtype=torch.uint8, count=size, offset=begin)


class _Zipped(_Form):
    """An archive of a pickle, "NAME/data.pkl", and a member for each storage, "NAME/data/KEY"."""

    def __init__(self, content: memoryview) -> None:
        super().__init__(content)
        self._archive = Archive(content, MAX_CHECKPOINT_BYTES)
        members = self._archive.members
        pickles = [name for name in members if name.endswith(f"/{_PICKLE}") and name.count("/") == 1]
        if len(pickles) != 1:
            raise InvalidArgumentError(f"is an archive with {len(pickles)} members called {_PICKLE}, expected one")
        self._folder = pickles[0].removesuffix(_PICKLE)
        self.big_endian = self._is_big_endian()

    def read(self) -> Any:
        objects = Objects(self)
        pickle = self._member(f"{self._folder}{_PICKLE}", MAX_PICKLE_BYTES)
        return PickleReader(pickle, objects.understood(), objects.persistent).read()

    def _found(self, storage: Storage) -> torch.Tensor:
        import torch

        name = f"{self._folder}data/{storage.key}"
        member = self._archive.members.get(name)
        if member is None or member.file_size < storage.nbytes:
            raise InvalidArgumentError(f"lacks values of {name!r:.80}, or is damaged")
        place = self._archive.place(name)
        if place is not None:
            return self._view(place.start, storage.nbytes)
        return torch.from_numpy(self._archive.unpack(name))[: storage.nbytes]

    def _is_big_endian(self) -> bool:
        name = f"{self._folder}byteorder"
        order = self._member(name, MIB) if name in self._archive.members else b"little"
        if order not in _ORDERS:
            raise InvalidArgumentError(f"has the byte order {order!r:.40}, expected little or big")
        return _ORDERS[order]

    def _member(self, name: str, at_most: int) -> bytes:
        size = self._archive.members[name].file_size
        if size > at_most:
            raise InvalidArgumentError(
                f"has {size // MIB} MiB of names beside its tensors, expected at most {at_most // MIB} MiB"
            )
        return self._archive.unpack(name).tobytes()


class _Old(_Form):
    """Five pickles: a number, a version, the machine, what the file holds, the storages' keys; then their values."""

    def __init__(self, content: memoryview) -> None:
        super().__init__(content)
        self._begins: dict[str, int] = {}

    def read(self) -> Any:
        objects = Objects(self)
        reader = PickleReader(bytes(self._content[:MAX_PICKLE_BYTES]), objects.understood(), objects.persistent)
        if reader.read() != _OLD_MAGIC or reader.read() != _OLD_VERSION:
            raise InvalidArgumentError("does not begin like a checkpoint")
        reader.read()
        holds = reader.read()
        self._begins = self._places(reader.read(), reader.at, objects.storages)
        return holds

    def _found(self, storage: Storage) -> torch.Tensor:
        if storage.key not in self._begins:
            raise InvalidArgumentError(f"lacks values of {storage.key!r:.80}, or is damaged")
        return self._view(self._begins[storage.key], storage.nbytes)

    def _places(self, keys: object, at: int, storages: dict[str, Storage]) -> dict[str, int]:
        begins = {}
        for key in keys if isinstance(keys, list) else ():
            storage = storages.get(key) if isinstance(key, str) else None
            count = self._content[at : at + _OLD_COUNT_BYTES]
            if storage is None or int.from_bytes(count, "little") != storage.elements:
                raise InvalidArgumentError(f"is damaged: the values at byte {at:,} are not those of a tensor")
            begins[storage.key] = at + _OLD_COUNT_BYTES
            at = begins[storage.key] + storage.nbytes
        if at > len(self._content):
            raise InvalidArgumentError(f"has {len(self._content):,} bytes and needs {at:,}")
        return begins
