"""Finds the state_dict in what a checkpoint holds."""

from __future__ import annotations

from typing import Any

from engine.errors import WeightsError
from engine.model.weights.stored import StoredTensor
from engine.untrusted.limits import MAX_TENSORS
from engine.untrusted.pickle_reader import Foreign, Global

_WRAPPER = "state_dict"
_SHOWN = 8
_EXPECTED = "expected a state_dict: names and tensors"


def state_dict_in(content: object, source: str) -> dict[str, StoredTensor]:
    """Return the tensors of the state_dict that a checkpoint holds, by name.

    Raises:
        WeightsError: it holds something else, for example a whole model.
    """
    if isinstance(content, dict) and isinstance(content.get(_WRAPPER), dict):
        content = content[_WRAPPER]
    if not isinstance(content, dict):
        raise WeightsError(f"{source} holds {_words(content)}, {_EXPECTED}{_advice(content)}")
    state = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, StoredTensor)}
    if len(state) > MAX_TENSORS:
        raise WeightsError(f"{source} holds {len(state):,} tensors, expected at most {MAX_TENSORS:,}")
    others = {str(key): value for key, value in content.items() if key not in state}
    odd = [key for key, value in others.items() if _is_unusual(value)]
    if odd:
        raise WeightsError(f"{source}: {odd[0]} and {len(odd) - 1} more are nested, sparse, quantized or without data")
    if others and not state:
        held = ", ".join(f"{key!r:.80} ({_words(value)})" for key, value in list(others.items())[:_SHOWN])
        foreign = next((value for value in others.values() if isinstance(value, (Foreign, Global))), None)
        raise WeightsError(f"{source} holds {held}, {_EXPECTED}{_advice(foreign)}")
    return state


def _is_unusual(value: object) -> bool:
    """Return whether a value is one of PyTorch's tensors, but none of numbers side by side."""
    return (
        isinstance(value, Foreign)
        and isinstance(value.kind, Global)
        and value.kind.module in ("torch._utils", "torch._tensor")
        and value.kind.name.startswith("_rebuild_")
    )


def _words(value: Any) -> str:
    if isinstance(value, Global):
        return f"the class or function {value}"
    return f"an object of {value}" if isinstance(value, Foreign) else f"a {type(value).__name__}"


def _advice(value: object) -> str:
    if not isinstance(value, (Foreign, Global)):
        return ""
    return (
        ". Objects are not made, and nothing in it was executed. If that is a model, save its weights alone, where its "
        "code is installed and if you trust the file: torch.save(torch.load(FILE, weights_only=False).state_dict(), "
        "'weights.pth')"
    )
