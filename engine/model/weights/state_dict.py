"""Finds the state_dict in what a checkpoint holds."""

from __future__ import annotations

from typing import Any

from engine.errors import WeightsError
from engine.model.weights.layouts import WRAPPERS
from engine.model.weights.stored import StoredTensor
from engine.untrusted.limits import MAX_TENSORS
from engine.untrusted.pickle_reader import Foreign, Global

_MOST_WRAPPERS = 3
_SHOWN = 8
_EXPECTED = "expected a state_dict: names and tensors"


def state_dict_in(content: object, source: str) -> tuple[dict[str, StoredTensor], list[str]]:
    """Return the tensors of the state_dict that a checkpoint holds, by name; and in words what was left out.

    It is the content itself, or what the content has under the first of WRAPPERS.

    Raises:
        WeightsError: it holds something else, for example a whole model.
    """
    left_out: list[str] = []
    for _ in range(_MOST_WRAPPERS):
        wrappers = [name for name in WRAPPERS if isinstance(content, dict) and isinstance(content.get(name), dict)]
        if not isinstance(content, dict) or not wrappers:
            break
        left_out += [f"{name!r} beside {wrappers[0]!r}" for name in wrappers[1:]]
        content = content[wrappers[0]]
    if not isinstance(content, dict):
        raise WeightsError(f"{source} holds {_words(content)}, {_EXPECTED}{_advice(content)}")
    state = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, StoredTensor)}
    if len(state) > MAX_TENSORS:
        raise WeightsError(f"{source} holds {len(state):,} tensors, expected at most {MAX_TENSORS:,}")
    others = {str(key): value for key, value in content.items() if key not in state}
    _refuse_unusual(others, source)
    if others and not state:
        held = ", ".join(f"{key!r:.80} ({_words(value)})" for key, value in list(others.items())[:_SHOWN])
        foreign = next((value for value in others.values() if isinstance(value, (Foreign, Global))), None)
        raise WeightsError(f"{source} holds {held}, {_EXPECTED}{_advice(foreign)}")
    if others:
        left_out.append(f"what is no tensor ({next(iter(others)):.80} and {len(others) - 1} more)")
    return state, left_out


def _refuse_unusual(values: dict[str, Any], source: str) -> None:
    odd = [key for key, value in values.items() if _is_unusual(value)]
    if odd:
        raise WeightsError(f"{source}: {odd[0]} and {len(odd) - 1} more are nested, sparse, quantized or without data")


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
