"""A double of TensorRT's builder, whose parser chooses how to import a node as that of a given version does.

The order is that of parseNode in onnx-tensorrt's ModelImporter.cpp; the importer of DeformConv came with TensorRT 10.1,
the flag ENABLE_PLUGIN_OVERRIDE with 10.15 (release notes). It needs no GPU, and its plans are empty.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import onnx

_PLUGIN, _LAYER = "a layer of a plugin", "another layer"
_OURS = frozenset({"RetinaFaceDecode", "RetinaFaceNMS", "RetinaFaceDeformConv", "DeformConv"})


class BuilderDouble:
    """The module tensorrt, as far as build_plan uses it.

    Attributes:
        flags: flags of the last builder configuration that are on.
        profiles: least, best and largest input of each of its optimisation profiles.
    """

    LayerType = SimpleNamespace(PLUGIN_V3=_PLUGIN)
    BuilderFlag = SimpleNamespace(TF32="TF32")
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    Dims4 = tuple

    class ILogger:
        """Base class of Python loggers."""

        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def __init__(self, version: str) -> None:
        """Behave as TensorRT `version`."""
        self.__version__ = version
        self._version = tuple(map(int, version.split(".")))
        self.flags: set[str] = set()
        self.profiles: list[tuple[Any, ...]] = []

    def Builder(self, logger: Any) -> Any:  # noqa: N802
        """Return the double of a builder."""
        return SimpleNamespace(
            get_plugin_registry=lambda: SimpleNamespace(load_library=lambda path: path),
            create_network=lambda flags: _Network(),
            create_builder_config=self._configuration,
            create_optimization_profile=_Profile,
            build_serialized_network=lambda network, configuration: b"",
        )

    def OnnxParser(self, network: _Network, logger: Any) -> Any:  # noqa: N802
        """Return the double of a parser, which adds a layer for each node."""

        def parse(model: bytes) -> bool:
            graph = onnx.ModelProto.FromString(model).graph
            network.layers = [SimpleNamespace(name=node.name, type=self._importer(node.op_type)) for node in graph.node]
            return True

        return SimpleNamespace(parse=parse, num_errors=0)

    def _importer(self, operator: str) -> str:
        # The parser looks at the operator's name alone, whatever its domain.
        own = onnx.defs.has(operator) and (operator != "DeformConv" or self._version >= (10, 1))
        return _PLUGIN if operator in _OURS and not own else _LAYER

    def _configuration(self) -> Any:
        self.flags, self.profiles = {self.BuilderFlag.TF32}, []  # TF32 is on by default

        def add(profile: _Profile) -> int:
            self.profiles.append(profile.shapes)
            return len(self.profiles) - 1

        return SimpleNamespace(
            set_flag=self.flags.add,
            clear_flag=self.flags.discard,
            add_optimization_profile=add,
        )


class _Profile:
    def set_shape(self, name: str, least: Any, best: Any, largest: Any) -> None:
        if not all(a <= b <= c for a, b, c in zip(least, best, largest, strict=True)):
            raise ValueError(f"{name}: {least}, {best}, {largest}")
        self.shapes = least, best, largest


class _Network:
    def __init__(self) -> None:
        self.layers: list[Any] = []

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_layer(self, index: int) -> Any:
        return self.layers[index]
