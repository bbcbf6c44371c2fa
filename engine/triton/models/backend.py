"""Requests of Triton's Python backend as the project's own types, and answers or errors back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError, RetinaFaceError
from engine.protocol.tensors import OPTIONS

T = TypeVar("T")
R = TypeVar("R")


def version_folder(arguments: Mapping[str, str]) -> Path:
    """Return the folder of the model's version, from what Triton gives to initialize()."""
    return Path(arguments["model_repository"], arguments["model_version"])


def parameters_of(arguments: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters in config.pbtxt."""
    given = json.loads(arguments["model_config"]).get("parameters", {})
    return {name: value["string_value"] for name, value in given.items()}


def tensors_of(request: Any) -> dict[str, NDArray[Any]]:
    """Return a request's inputs by name; values of BYTES are bytes."""
    return {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}


def options_of(request: Any) -> dict[str, Any]:
    """Return those of a request's parameters that are options of a detection."""
    given = json.loads(request.parameters() or "{}")
    return {name: given[name] for name in OPTIONS if name in given}


def each(items: Sequence[T], do: Callable[[T], R]) -> list[R | Exception]:
    """Call `do` with each item; an error stands in the place of its result."""
    done: list[R | Exception] = []
    for item in items:
        try:
            done.append(do(item))
        except Exception as error:
            done.append(error)
    return done


def together(items: Sequence[T], do: Callable[[Sequence[T]], list[R]]) -> list[R | Exception]:
    """Call `do` with all items; if that fails, with each alone, so that an item fails only through its own fault."""
    try:
        return [*do(items)] if items else []
    except Exception as error:
        return [error] if len(items) == 1 else each(items, lambda item: do([item])[0])


def for_the_rest(given: Sequence[T | Exception], do: Callable[[list[T]], list[R | Exception]]) -> list[R | Exception]:
    """Call `do` with those that are no errors, and return its results and the errors in the given order."""
    done = iter(do([item for item in given if not isinstance(item, Exception)]))
    return [item if isinstance(item, Exception) else next(done) for item in given]


def response(answer: Mapping[str, NDArray[Any]] | Exception) -> Any:
    """Return Triton's response with these outputs; or with an error, whose text says nothing about this machine."""
    import triton_python_backend_utils as backend  # exists only inside Triton

    if not isinstance(answer, Exception):
        tensors = [backend.Tensor(name, np.ascontiguousarray(values)) for name, values in answer.items()]
        return backend.InferenceResponse(output_tensors=tensors)
    code = backend.TritonError.INTERNAL
    if isinstance(answer, InvalidArgumentError):
        code = backend.TritonError.INVALID_ARG
    else:
        backend.Logger.log_error(f"a request failed: {type(answer).__name__}: {answer}")
    text = str(answer) if isinstance(answer, RetinaFaceError) else "the detection failed; the server's log says why"
    return backend.InferenceResponse(output_tensors=[], error=backend.TritonError(text, code))
