"""Compilation of a detector.onnx into a plan: parser, profiles, builder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from engine.backend.plugin_library import PluginLibrary
from engine.backend.targets import set_targets
from engine.backend.tensorrt import Backend, because, load_plugins, make_logger
from engine.config.detection import InputSize
from engine.errors import BuildError
from engine.export.attach import PLUGIN_DOMAIN
from engine.sidecar.content import InputSpec, Shape

if TYPE_CHECKING:
    import onnx
    import tensorrt


@dataclass(frozen=True)
class Toolchain:
    """What compiles an engine, and for which GPUs.

    Attributes:
        backend: TensorRT or TensorRT-RTX.
        library: with the plugins.
        targets: from targets.check_targets.
    """

    backend: Backend
    library: PluginLibrary
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A serialised engine.

    Attributes:
        data: its bytes.
        num_layers: number of layers before optimisation.
        plugins: names of the plugin layers.
    """

    data: bytes
    num_layers: int
    plugins: tuple[str, ...]


@dataclass(frozen=True)
class PlanOptions:
    """How a plan is compiled.

    Attributes:
        size: allowed input sizes.
        max_batch: the engine takes 1 to max_batch images.
        embed_plugins: whether the plan contains the plugin library.
        tf32: whether float32 convolutions and matrix products may round their inputs to TF32, which has 10 bits of
            mantissa.
    """

    size: InputSize
    max_batch: int
    embed_plugins: bool = False
    tf32: bool = False


def build_plan(detector: onnx.ModelProto, toolchain: Toolchain, options: PlanOptions) -> Plan:
    """Compile an ONNX model. Its types are the precision of the engine.

    Args:
        detector: from attach_detection.
        toolchain: to compile with; its library has the plugins that the model names.
        options: of the plan.

    Raises:
        BuildError: the parser or the builder failed, and the message holds their errors; or the parser took something
            else for a plugin.
    """
    backend, library, targets = toolchain.backend, toolchain.library, toolchain.targets
    trt = backend.module
    errors: list[str] = []
    logger = make_logger(backend, errors)
    try:
        builder: tensorrt.Builder = trt.Builder(logger)
    except (TypeError, RuntimeError) as error:  # from the bindings, when the library returned no builder
        reason = because(f"{backend.title} cannot start a builder", errors)
        raise BuildError(f"{reason}. It needs an NVIDIA GPU; --runtime tensorrt-rtx builds without one") from error
    load_plugins(backend, builder.get_plugin_registry(), library, errors)
    network = builder.create_network(_strongly_typed(trt))
    parser: tensorrt.OnnxParser = trt.OnnxParser(network, logger)
    if not parser.parse(detector.SerializeToString(deterministic=True)):
        reasons = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise BuildError(because(f"{backend.title} cannot read the network", reasons + errors))
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    plugins = tuple(layer.name for layer in layers if layer.type == trt.LayerType.PLUGIN_V3)
    _check_plugins(plugins, detector, backend)
    config = builder.create_builder_config()
    set_targets(config, backend, targets)
    # Its default is on.
    (config.set_flag if options.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
    spec = InputSpec.of(options.size, options.max_batch)
    for shapes in _profiles(spec, backend):
        profile = builder.create_optimization_profile()
        profile.set_shape(spec.name, *map(trt.Dims4, shapes))
        config.add_optimization_profile(profile)
    if options.embed_plugins:
        config.plugins_to_serialize = [str(library.path)]
    data = builder.build_serialized_network(network, config)
    if data is None:
        raise BuildError(because(f"{backend.title} could not build the engine for {', '.join(targets)}", errors))
    return Plan(bytes(data), len(layers), plugins)


def _profiles(spec: InputSpec, backend: Backend) -> list[tuple[Shape, Shape, Shape]]:
    """Return the least, best and largest input of each optimisation profile.

    The first takes every input, so a program that chooses no profile can run all of them. The second, for single
    images, is tuned to them. TensorRT-RTX tunes nothing when it builds: it compiles kernels for the shapes that it
    meets, and a second profile would only hold the weights again.
    """
    every = (spec.minimum, spec.optimum, spec.maximum)
    if spec.maximum[0] == 1 or backend.runtime == "tensorrt-rtx":
        return [every]
    least, best, largest = ((1, *shape[1:]) for shape in every)
    return [every, (least, best, largest)]


def _check_plugins(found: Sequence[str], detector: onnx.ModelProto, backend: Backend) -> None:
    expected = [node.name for node in detector.graph.node if node.domain == PLUGIN_DOMAIN]
    if len(found) != len(expected):
        raise BuildError(
            f"{backend.title} made {len(found)} plugin layers of {len(expected)} plugin nodes "
            f"({', '.join(found) or 'none'}): its parser replaced the others. Report this with the output of "
            "retinaface-trt doctor --json"
        )


def _strongly_typed(trt: ModuleType) -> int:
    """Return the flags of a strongly typed network: TensorRT 10 needs the flag, 11 and RTX may lack it."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)
