"""Reading JSON values as dataclasses: one reader for all of them, which names the field that does not fit."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from engine.errors import InvalidArgumentError

T = TypeVar("T")

ADDED = "added"  # in the metadata of a field that older files do not have: they mean its default

_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    NoneType: "null",
}


def read_dataclass(kind: type[T], values: Any, name: str = "") -> T:
    """Return an object of JSON as a dataclass, whose field types say what each value must be.

    Fields may be str, int, float, bool, Any, dataclasses, tuples, dict[str, ...] and unions of these.

    Args:
        kind: the dataclass.
        values: what json.loads returned; tuples may stand for lists.
        name: of the object, for messages.

    Raises:
        InvalidArgumentError: a field is missing, unknown, of another type, or refused by the dataclass itself; the
            message has its dotted name.
    """
    _require(values, dict, name)
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]  # T is a dataclass
    missing = sorted(name for name in known.keys() - values.keys() if not known[name].metadata.get(ADDED))
    if missing or not values.keys() <= known.keys():
        unknown = sorted(values.keys() - known.keys())
        raise InvalidArgumentError(f"{name or 'the file'} has unknown keys {unknown!s:.200} and lacks {missing}")
    types, prefix = get_type_hints(kind), f"{name}." if name else ""
    return kind(**{key: _read(types[key], value, prefix + key) for key, value in values.items()})


def _read(kind: Any, value: Any, name: str) -> Any:
    arguments = get_args(kind)
    if is_dataclass(kind):
        return read_dataclass(kind, value, name)  # type: ignore[arg-type]  # a class, not an object
    if get_origin(kind) is UnionType:
        return _read(type(value) if type(value) in arguments else arguments[0], value, name)
    if get_origin(kind) is tuple:
        values = _require(list(value) if isinstance(value, tuple) else value, list, name)
        kinds = arguments[:1] * len(values) if arguments[-1] is ... else arguments
        if len(kinds) != len(values):
            raise InvalidArgumentError(f"{name} is {values!s:.200}, expected {len(kinds)} values")
        return tuple(_read(kind, v, f"{name}[{i}]") for i, (kind, v) in enumerate(zip(kinds, values, strict=True)))
    if get_origin(kind) is dict:
        return {key: _read(arguments[1], v, f"{name}.{key}") for key, v in _require(value, dict, name).items()}
    if kind is float and type(value) is int and abs(value) < 1 << 53:
        return float(value)
    return value if kind is Any else _require(value, kind, name)


def _require(value: Any, kind: type, name: str) -> Any:
    if type(value) is not kind:
        raise InvalidArgumentError(f"{name or 'the file'} is {value!r:.200}, expected {_NAMES[kind]}")
    return value
