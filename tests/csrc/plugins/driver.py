"""Calls a plugin library as TensorRT does, through ctypes (driver.cpp)."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Shape = Sequence[int]
# An input's smallest and largest shape.
Profile = Sequence[tuple[Shape, Shape]]

# nvinfer1::DataType, TensorFormat and TensorRTPhase.
FLOAT, HALF, INT32, BF16 = 0, 1, 3, 7
DATA_TYPES = range(12)
LINEAR, HWC8 = 0, 2
FORMATS = range(13)
BUILD, RUNTIME = 0, 1

# nvinfer1::PluginFieldType.
_FIELD_TYPES = {"float16": 0, "float32": 1, "float64": 2, "int8": 3, "int16": 4, "int32": 5, "int64": 10}
_FIELD_CTYPES: dict[int, Any] = {1: ctypes.c_float, 5: ctypes.c_int32}

# Result and arguments of driver.cpp's functions: p a pointer, s text, i int32_t, z size_t, b bool.
_LETTERS = {"p": ctypes.c_void_p, "s": ctypes.c_char_p, "i": ctypes.c_int32, "z": ctypes.c_size_t, "b": ctypes.c_bool}
_SIGNATURES = {
    **{"load": "psi", "log": "s", "creator": "ppi", "create": "pppi"},
    **{"creator_name": "sp", "creator_version": "sp", "creator_namespace": "sp", "creator_fields": "pp"},
    **{
        "name": "sp",
        "version": "sp",
        "fields": "pp",
        "clone": "pp",
        "attach": "pp",
        "destroy": "ip",
        "num_outputs": "ip",
    },
    **{"output_types": "ippipi", "output_shapes": "ippipi", "supports": "bpipii", "configure": "ippii"},
    **{"workspace": "zppii", "shape_change": "ippii", "enqueue": "ippipppp"},
    **{"allocate": "pz", "free": "ip", "upload": "ippz", "download": "ippz"},
    **{"stream": "p", "synchronise": "ip", "begin_capture": "ip", "end_capture": "pp", "replay": "ippi"},
    "time_replays": "ipppi",
    # Of launchers.cpp, for tests/csrc/launchers.
    **{"structure_sizes": "p", "decode_workspace": "zp", "decode": "ippppzp", "nms_workspace": "zp", "nms": "ippppzp"},
    **{"letterbox": "ippppp", "unletterbox": "ippppp", "deform_conv_workspace": "zp", "deform_conv": "ippppzp"},
    **{"deform_conv_division": "ippp", "align": "ippppp"},
}


class Dims(ctypes.Structure):
    """nvinfer1::Dims."""

    _fields_ = (("count", ctypes.c_int32), ("extents", ctypes.c_int64 * 8))

    @classmethod
    def of(cls, shape: Shape) -> Dims:
        """Make dims of a shape."""
        return cls(len(shape), (ctypes.c_int64 * 8)(*shape))

    def shape(self) -> tuple[int, ...]:
        """Return them as a tuple."""
        return tuple(self.extents[: self.count])


class TensorDesc(ctypes.Structure):
    """nvinfer1::PluginTensorDesc."""

    _fields_ = (("dims", Dims), ("type", ctypes.c_int32), ("format", ctypes.c_int32), ("scale", ctypes.c_float))


class DynamicTensorDesc(ctypes.Structure):
    """nvinfer1::DynamicPluginTensorDesc."""

    _fields_ = (("desc", TensorDesc), ("min", Dims), ("max", Dims), ("opt", Dims))


class Field(ctypes.Structure):
    """nvinfer1::PluginField."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("type", ctypes.c_int32),
        ("length", ctypes.c_int32),
    )


class FieldCollection(ctypes.Structure):
    """nvinfer1::PluginFieldCollection."""

    _fields_ = (("count", ctypes.c_int32), ("fields", ctypes.POINTER(Field)))

    @classmethod
    def at(cls, address: int) -> list[Field]:
        """Return the fields of the collection at an address."""
        collection = cls.from_address(address)
        return list(collection.fields[: collection.count])


class PluginError(Exception):
    """A plugin returned a failure; the text is its log."""


def _as_field_data(value: Any) -> Array:
    """Return an attribute as the ONNX parser passes it, in 32 bits. An array is not converted."""
    if isinstance(value, np.ndarray):
        return np.atleast_1d(value)
    array = np.atleast_1d(np.asarray(value))
    return array.astype(np.int32 if array.dtype.kind == "i" else np.float32)


@dataclass
class Library:
    """A plugin library, loaded as TensorRT of version `tensorrt_major` would."""

    driver_path: Path
    path: Path
    tensorrt_major: int = 10
    creators: dict[tuple[str, str], int] = field(init=False)  # by name and version

    def __post_init__(self) -> None:
        """Load the driver and, through it, the library."""
        self.driver = ctypes.CDLL(str(self.driver_path))
        for name, letters in _SIGNATURES.items():
            function = getattr(self.driver, f"driver_{name}")
            function.restype, *function.argtypes = [_LETTERS[letter] for letter in letters]
        self.log()
        library = self.call("load", str(self.path).encode(), self.tensorrt_major)
        if not library:
            raise PluginError(self.log())
        self.creators = {}
        while creator := self.call("creator", library, len(self.creators)):
            name, version = (self.call(f"creator_{what}", creator).decode() for what in ("name", "version"))
            self.creators[name, version] = creator

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a function of driver.cpp."""
        return getattr(self.driver, f"driver_{function}")(*arguments)

    def log(self) -> str:
        """Return the lines logged since the last call."""
        lines: bytes = self.call("log")
        return lines.decode()

    def create_from(self, name: str, fields: Any, phase: int, version: str = "1") -> Plugin:
        """Create a plugin from the address of a field collection."""
        self.log()
        handle = self.call("create", self.creators[name, version], fields, phase)
        if not handle:
            raise PluginError(self.log())
        return Plugin(self, handle)

    def create(
        self, name: str, attributes: Mapping[str, Any] | Sequence[tuple[str, Any]], version: str = "1"
    ) -> Plugin:
        """Create a plugin from attributes; a sequence of pairs may hold a name twice."""
        pairs = attributes.items() if isinstance(attributes, Mapping) else attributes
        data = [(key, _as_field_data(value)) for key, value in pairs]
        fields = (Field * len(data))(
            *(Field(key.encode(), a.ctypes.data, _FIELD_TYPES[a.dtype.name], a.size) for key, a in data)
        )
        return self.create_from(name, ctypes.byref(FieldCollection(len(data), fields)), BUILD, version)


@dataclass
class Plugin:
    """Owns one plugin object."""

    library: Library
    handle: int
    # Formats at run time by position, inputs before outputs; LINEAR if not listed.
    formats: Mapping[int, int] = field(default_factory=dict)

    def __del__(self) -> None:
        """Delete the object."""
        self.library.call("destroy", self.handle)

    def _call(self, function: str, *arguments: Any) -> Any:
        return self.library.call(function, self.handle, *arguments)

    def _checked(self, function: str, *arguments: Any) -> None:
        self.library.log()
        if self._call(function, *arguments) != 0:
            raise PluginError(self.library.log())

    def clone(self) -> Plugin:
        """IPluginV3::clone."""
        return Plugin(self.library, self._call("clone"))

    def attach(self) -> Plugin:
        """IPluginV3OneRuntime::attachToContext."""
        return Plugin(self.library, self._call("attach"))

    def recreate(self) -> Plugin:
        """Serialise and create again, as loading an engine does."""
        name, version = (self._call(what).decode() for what in ("name", "version"))
        return self.library.create_from(name, self._call("fields"), RUNTIME, version)

    def fields(self) -> dict[str, list[float]]:
        """Return the serialised attributes."""
        result = {}
        for f in FieldCollection.at(self._call("fields")):
            values = ctypes.cast(f.data, ctypes.POINTER(_FIELD_CTYPES[f.type]))
            result[f.name.decode()] = values[: f.length]
        return result

    @property
    def num_outputs(self) -> int:
        """IPluginV3OneBuild::getNbOutputs."""
        count: int = self._call("num_outputs")
        return count

    def output_types(self, inputs: Sequence[int]) -> list[int]:
        """IPluginV3OneBuild::getOutputDataTypes."""
        outputs = (ctypes.c_int32 * self.num_outputs)()
        types = (ctypes.c_int32 * len(inputs))(*inputs)
        self._checked("output_types", types, len(inputs), outputs, len(outputs))
        return list(outputs)

    def output_shapes(self, inputs: Sequence[Shape]) -> list[tuple[int, ...]]:
        """IPluginV3OneBuild::getOutputShapes; -1 is an extent unknown during the build."""
        outputs = (Dims * self.num_outputs)()
        shapes = (Dims * len(inputs))(*map(Dims.of, inputs))
        self._checked("output_shapes", shapes, len(inputs), outputs, len(outputs))
        return [dims.shape() for dims in outputs]

    def supports(self, position: int, tensors: Sequence[tuple[int, int]], num_inputs: int) -> bool:
        """IPluginV3OneBuild::supportsFormatCombination for (type, format) of the tensors up to `position`."""
        count = num_inputs + self.num_outputs
        # Tensors after `position` are invalid: a plugin must not read them.
        invalid = [(99, 99)] * (count - len(tensors))
        descs = (DynamicTensorDesc * count)(
            *(DynamicTensorDesc(desc=TensorDesc(type=t, format=f)) for t, f in [*tensors, *invalid])
        )
        supported: bool = self._call("supports", position, descs, num_inputs, self.num_outputs)
        return supported

    def _profile_descs(self, types: Sequence[int], profile: Profile) -> Any:
        types = [*types, *self.output_types(types)]
        descs = (DynamicTensorDesc * len(types))(*(DynamicTensorDesc(desc=TensorDesc(type=t)) for t in types))
        for desc, (low, high) in zip(descs, profile, strict=False):
            desc.desc.dims = Dims.of([a if a == b else -1 for a, b in zip(low, high, strict=True)])
            desc.min, desc.opt, desc.max = Dims.of(low), Dims.of(low), Dims.of(high)
        return descs

    def configure(self, types: Sequence[int], profile: Profile) -> None:
        """IPluginV3OneBuild::configurePlugin."""
        self._checked("configure", self._profile_descs(types, profile), len(types), self.num_outputs)

    def workspace_bytes(self, types: Sequence[int], profile: Profile) -> int:
        """IPluginV3OneBuild::getWorkspaceSize."""
        size: int = self._call("workspace", self._profile_descs(types, profile), len(types), self.num_outputs)
        return size

    def _descs(self, types: Sequence[int], shapes: Sequence[Shape]) -> Any:
        descs = [TensorDesc(Dims.of(shape), type_) for type_, shape in zip(types, shapes, strict=True)]
        descs += [TensorDesc(type=type_) for type_ in self.output_types(types)]
        for position, format_ in self.formats.items():
            descs[position].format = format_
        return (TensorDesc * len(descs))(*descs)

    def shape_change(self, types: Sequence[int], shapes: Sequence[Shape]) -> None:
        """IPluginV3OneRuntime::onShapeChange."""
        self._checked("shape_change", self._descs(types, shapes), len(types), self.num_outputs)

    def enqueue(
        self,
        types: Sequence[int],
        shapes: Sequence[Shape],
        inputs: Sequence[int],
        outputs: Sequence[int],
        workspace: int,
        stream: int,
    ) -> None:
        """IPluginV3OneRuntime::enqueue, with the addresses of inputs, outputs and workspace."""
        addresses = [(ctypes.c_void_p * len(a))(*a) for a in (inputs, outputs)]
        self._checked("enqueue", self._descs(types, shapes), len(types), *addresses, workspace, stream)
