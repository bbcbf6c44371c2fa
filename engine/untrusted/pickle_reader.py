"""Pickles from outside, read without Python's unpickler: a pickle is a program, and nothing here executes it.

What comes out is inert: dicts, lists, tuples, texts, numbers, bytes, and descriptions of what a pickle asks for. A
class or function is a Global, which is a name. An object of it is a Foreign, which keeps that name and nothing else,
unless the caller understands the name and describes the object itself.

Nothing of the result is copied: what a pickle repeats is one object. So memory and time are bounded by the number of
operations and by the bytes of the pickle, which hold all texts. Nesting has no bound and needs none, because nothing
here recurses, and dicts have only texts as keys: to hash a tuple would recurse, and numbers with one hash can be made.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from engine.errors import InvalidArgumentError
from engine.untrusted.limits import MAX_PICKLE_OPERATIONS

_PROTOCOLS = range(2, 6)


class Global:
    """The name of a class or a function. Module and name are not joined: a pickle can repeat long ones."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def __str__(self) -> str:
        return f"{self.module:.200}.{self.name:.200}"


class Foreign:
    """An object that is not understood."""

    __slots__ = ("kind",)

    def __init__(self, kind: object) -> None:
        self.kind = kind

    def __str__(self) -> str:
        return str(self.kind)


# Returns the description of an object from the arguments that a pickle gives to its class.
Describe = Callable[[tuple[Any, ...]], object]


class PickleReader:
    """Reads the pickles that follow each other in a file. The limit of operations is for all of them together.

    Attributes:
        at: where the next pickle begins.
    """

    def __init__(
        self,
        content: bytes,
        understood: Mapping[tuple[str, str], Describe],
        persistent: Callable[[object], object],
    ) -> None:
        """Start at the beginning of a file.

        Args:
            content: of the file.
            understood: makes the descriptions of objects, by module and name of their class or function. A ValueError
                says that the arguments are wrong. What it does must take a bounded time, whatever the arguments are.
            persistent: makes the description of an object that is kept outside the pickle, from its reference.
        """
        self.at = 0
        self._content = content
        self._understood = understood
        self._persistent = persistent
        self._left = MAX_PICKLE_OPERATIONS

    def read(self) -> Any:
        """Return what the next pickle holds.

        Raises:
            InvalidArgumentError: it is damaged, too large, or uses what no pickle of protocol 2 to 5 has.
        """
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks below the marks
        self._memo: dict[int, Any] = {}
        operations, content = _OPERATIONS, self._content
        try:
            while (code := content[self.at]) != _STOP:
                self.at += 1
                self._left -= 1
                if self._left < 0:
                    raise InvalidArgumentError(
                        f"has a pickle of more than {MAX_PICKLE_OPERATIONS:,} operations, which no checkpoint needs"
                    )
                operations[code](self)
            self.at += 1
            return self._stack.pop()
        except InvalidArgumentError:
            raise
        except (ValueError, LookupError, struct.error) as error:
            raise InvalidArgumentError(f"has a pickle that is damaged near byte {self.at:,}") from error

    def _take(self, size: int) -> bytes:
        """Return the next bytes; fewer where the content ends, behind which there is no next operation."""
        begin = self.at
        self.at += size
        return self._content[begin : self.at]

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "little")

    def _line(self) -> str:
        begin, end = self.at, self._content.index(b"\n", self.at)
        self.at = end + 1
        return self._content[begin:end].decode()

    def _items(self) -> list[Any]:
        items, self._stack = self._stack, self._below.pop()
        return items

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _protocol(self) -> None:
        if self._number(1) not in _PROTOCOLS:
            raise ValueError("unknown protocol")

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._items()

    def _long(self, size: int) -> None:
        count = self._number(size)
        digits = self._take(count)
        # Arithmetic with a number of many digits takes long, and hashing it every time.
        self._push(int.from_bytes(digits, "little", signed=True) if count < 256 else Foreign("int"))

    def _text(self, size: int) -> None:
        self._push(self._take(self._number(size)).decode("utf-8", "surrogatepass"))

    def _bytes(self, size: int) -> None:
        self._push(self._take(self._number(size)))

    def _python_2_text(self, size: int) -> None:
        content = self._take(self._number(size))
        self._push(content.decode() if content.isascii() else content)

    def _tuple(self, size: int) -> None:
        if size > len(self._stack):
            raise ValueError("too few items")
        self._stack[-size:] = [tuple(self._stack[-size:])]

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is list:
            target.extend(items)
        elif type(target) is not Foreign:
            raise ValueError("no list")

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is dict:
            _put(target, zip(items[::2], items[1::2], strict=True))
        elif type(target) is not Foreign:
            raise ValueError("no dict")

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value])

    def _add_to_set(self) -> None:
        self._items()
        if type(self._stack[-1]) is not Foreign:
            raise ValueError("no set")

    def _frozen_set(self) -> None:
        self._items()
        self._push(Foreign("frozenset"))

    def _global(self) -> None:
        self._push(Global(self._line(), self._line()))

    def _global_of_stack(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise ValueError("no names")
        self._push(Global(module, name))

    def _object(self) -> None:
        arguments, made = self._stack.pop(), self._stack.pop()
        if type(arguments) is not tuple:
            raise ValueError("no arguments")
        if type(made) is Global:
            key = (made.module, made.name)
            if key == ("collections", "OrderedDict"):
                self._push(self._ordered_dict(arguments))
            else:
                describe = self._understood.get(key)
                self._push(Foreign(made) if describe is None else describe(arguments))
        elif type(made) is Foreign:  # what a foreign function returned
            self._push(made)
        else:
            raise ValueError("no class")

    def _ordered_dict(self, arguments: tuple[Any, ...]) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        if arguments:  # Python 2 writes the items as a list of lists of two
            (items,) = arguments
            if type(items) is not list:
                raise ValueError("no items")
            self._left -= len(items)  # copied, so they count as often as the list is used
            if self._left > 0:
                if not all(type(item) is list for item in items):
                    raise ValueError("no item")
                _put(made, items)
        return made

    def _object_with_names(self) -> None:
        self._stack.pop()
        self._object()

    def _state(self) -> None:
        """Drop the attributes of an object: none that is understood needs them."""
        self._stack.pop()
        if not self._stack:
            raise ValueError("no object")

    def _refer(self) -> None:
        self._push(self._persistent(self._stack.pop()))

    def _memoize(self, index: int) -> None:
        self._memo[index] = self._stack[-1]


def _put(target: dict[Any, Any], items: Any) -> None:
    for key, value in items:
        # What is no text stays under a key that equals no other.
        target[key if type(key) is str else Foreign(type(key).__name__)] = value


_STOP = ord(".")
_INT, _FLOAT = struct.Struct("<i"), struct.Struct(">d")
_OPERATIONS: dict[int, Callable[[PickleReader], None]] = {
    code[0]: operation
    for code, operation in {
        b"\x80": PickleReader._protocol,
        b"\x95": lambda reader: reader._take(8),  # the size of what follows, for readers of streams
        b"(": PickleReader._mark,
        b"0": PickleReader._pop,
        b"1": lambda reader: reader._items(),
        b"2": lambda reader: reader._push(reader._stack[-1]),
        b"N": lambda reader: reader._push(None),
        b"\x88": lambda reader: reader._push(True),
        b"\x89": lambda reader: reader._push(False),
        b"J": lambda reader: reader._push(_INT.unpack(reader._take(4))[0]),
        b"K": lambda reader: reader._push(reader._number(1)),
        b"M": lambda reader: reader._push(reader._number(2)),
        b"\x8a": lambda reader: reader._long(1),
        b"\x8b": lambda reader: reader._long(4),
        b"G": lambda reader: reader._push(_FLOAT.unpack(reader._take(8))[0]),
        b"\x8c": lambda reader: reader._text(1),
        b"X": lambda reader: reader._text(4),
        b"\x8d": lambda reader: reader._text(8),
        b"C": lambda reader: reader._bytes(1),
        b"B": lambda reader: reader._bytes(4),
        b"\x8e": lambda reader: reader._bytes(8),
        b"\x96": lambda reader: reader._bytes(8),  # a bytearray
        b"U": lambda reader: reader._python_2_text(1),
        b"T": lambda reader: reader._python_2_text(4),
        b"]": lambda reader: reader._push([]),
        b"a": lambda reader: reader._append([reader._stack.pop()]),
        b"e": lambda reader: reader._append(reader._items()),
        b")": lambda reader: reader._push(()),
        b"t": lambda reader: reader._push(tuple(reader._items())),
        b"\x85": lambda reader: reader._tuple(1),
        b"\x86": lambda reader: reader._tuple(2),
        b"\x87": lambda reader: reader._tuple(3),
        b"}": lambda reader: reader._push({}),
        b"s": PickleReader._set_item,
        b"u": lambda reader: reader._set_items(reader._items()),
        b"\x8f": lambda reader: reader._push(Foreign("set")),
        b"\x90": PickleReader._add_to_set,
        b"\x91": PickleReader._frozen_set,
        b"c": PickleReader._global,
        b"\x93": PickleReader._global_of_stack,
        b"R": PickleReader._object,
        b"\x81": PickleReader._object,
        b"\x92": PickleReader._object_with_names,
        b"b": PickleReader._state,
        b"Q": PickleReader._refer,
        b"q": lambda reader: reader._memoize(reader._number(1)),
        b"r": lambda reader: reader._memoize(reader._number(4)),
        b"\x94": lambda reader: reader._memoize(len(reader._memo)),
        b"h": lambda reader: reader._push(reader._memo[reader._number(1)]),
        b"j": lambda reader: reader._push(reader._memo[reader._number(4)]),
    }.items()
}
