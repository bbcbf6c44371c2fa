"""Execution contexts: their current shapes and addresses, and the activation memory that they share."""

from __future__ import annotations

from typing import Any

from engine.errors import InferenceError
from engine.runtime.gpu.loading import LoadedEngine
from engine.runtime.gpu.memory import Layout
from engine.sidecar.content import Shape


class Context:
    """An execution context with its current input shape and output address."""

    def __init__(self, engine: LoadedEngine, context: Any, input_pointer: int) -> None:
        """Take a context and the address of its input."""
        self._engine, self._context, self._input = engine, context, input_pointer
        self._set: tuple[Shape, int] | None = None

    def set_to(self, shape: Shape, layout: Layout, outputs: int) -> None:
        """Set the shape of the input and the address of the block of outputs.

        Raises:
            InferenceError: the engine refuses it.
        """
        if self._set == (shape, outputs):
            return
        self._set = None
        if not self._context.set_input_shape(self._engine.input_name, shape):
            raise InferenceError(self._engine.because(f"the engine refused an input of shape {shape}"))
        places = {name: outputs + offset for name, offset in layout.offsets.items()}
        for name, pointer in {self._engine.input_name: self._input, **places}.items():
            if not self._context.set_tensor_address(name, pointer):
                raise InferenceError(self._engine.because(f"the engine refused the address of {name!r}"))
        self._set = (shape, outputs)

    def launch(self, stream: int) -> None:
        """Queue a run on a stream.

        Raises:
            InferenceError: the engine failed.
        """
        if not self._context.execute_async_v3(stream):
            shape = self._set[0] if self._set else None
            raise InferenceError(self._engine.because(f"the engine failed on an input of shape {shape}"))


class Contexts:
    """The contexts of a session. They share activation memory, as its runs follow each other on one stream.

    A context stays with one optimisation profile, since TensorRT sets it up anew for another.
    """

    def __init__(self, engine: LoadedEngine, input_pointer: int, stream: int) -> None:
        """Allocate activation memory, and create the contexts for runs without a graph, one for each profile.

        Args:
            engine: of the session.
            input_pointer: address of the input.
            stream: of all runs.
        """
        self._engine, self._input, self._stream = engine, input_pointer, stream
        self._activations = engine.allocate_activations()
        self._plain = [self._create(index) for index in range(len(engine.profiles))]

    def plain(self, shape: Shape) -> Context:
        """Return the context for runs of a shape without a graph."""
        return self._plain[self._engine.profile_for(shape)]

    def create(self, shape: Shape) -> Context:
        """Create another context for runs of a shape.

        Raises:
            EngineLoadError: the runtime refuses, most often for lack of memory.
        """
        return self._create(self._engine.profile_for(shape))

    def _create(self, profile: int) -> Context:
        context = self._engine.create_context(self._activations, profile, self._stream)
        return Context(self._engine, context, self._input)
