"""The tensors of a checkpoint: compared with the model's before a value is read; their values, before they are used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from typing import TYPE_CHECKING

from engine.errors import InvalidArgumentError, MisfitError, WeightsError
from engine.model.weights.settings.alike import presets_of

if TYPE_CHECKING:
    import torch

    from engine.config.model import RetinaFaceConfig
    from engine.model.retinaface import RetinaFace
    from engine.model.weights.stored import StoredTensor

    State = dict[str, torch.Tensor]
    Given = dict[str, torch.Tensor | StoredTensor]

COUNTER = "num_batches_tracked"  # of a batch normalisation; inference never reads it, and old checkpoints lack it
_VARIANCE = ".running_var"
_SHAPES_SHOWN = 4
_NAMES_SHOWN = 6


def fitting(state: Given, model: RetinaFace, source: str) -> State:
    """Return the parameters and statistics of a model from a checkpoint, without its counters.

    They are float32 and contiguous, and no two share their memory.

    Names, shapes and dtypes are compared before a value is read. A tensor of a small file can claim any shape: one
    value that is repeated takes no memory until then.

    Args:
        state: with this project's names.
        model: that the checkpoint should fit.
        source: of the checkpoint, for messages.

    Raises:
        WeightsError: a tensor is missing, unexpected or of another shape; it holds no floating-point numbers; in
            float32 it is not finite; or a variance is negative.
    """
    given = {key: value for key, value in state.items() if not key.endswith(COUNTER)}
    expected = {key: value for key, value in model.state_dict().items() if not key.endswith(COUNTER)}
    _compare(given, expected, model.config, source)
    _check_dtypes(given, source)
    tensors: State = {}
    memory: set[int] = set()
    for key, value in given.items():
        tensor = _loaded(value, key, source).float().contiguous()
        address = tensor.untyped_storage().data_ptr()
        tensors[key] = tensor.clone() if address in memory else tensor
        memory.add(address)
    _check_values(tensors, source)
    return tensors


def _loaded(value: torch.Tensor | StoredTensor, key: str, source: str) -> torch.Tensor:
    import torch

    if isinstance(value, torch.Tensor):
        return value
    try:
        return value.load()
    except InvalidArgumentError as error:
        raise WeightsError(f"{source}: {key} cannot be read: the file {error}") from error


def _compare(state: Given, expected: State, config: RetinaFaceConfig, source: str) -> None:
    if state and not expected.keys() & state.keys():
        raise MisfitError(
            f"{source} does not fit config {config.name!r}: it has none of the model's names, but "
            f"{', '.join(list(state)[:_NAMES_SHOWN])} ... ({len(state)}). Rename them to those in docs/models.md"
        )
    shapes = [
        f"{key} has shape {tuple(state[key].shape)}, expected {tuple(expected[key].shape)}"
        for key in sorted(expected.keys() & state.keys())
        if tuple(state[key].shape) != tuple(expected[key].shape)
    ]
    problems = [
        *_heads(state, config),
        *_grouped("missing", expected.keys() - state.keys(), expected.keys()),
        *_grouped("unexpected", state.keys() - expected.keys(), state.keys()),
        *shapes[:_SHAPES_SHOWN],
        *([f"and {len(shapes) - _SHAPES_SHOWN} more of other shapes"] if len(shapes) > _SHAPES_SHOWN else []),
    ]
    if problems:
        raise MisfitError(
            f"{source} does not fit config {config.name!r}: {'; '.join(problems)}. Use the config that it was "
            f"trained with{''.join(f', perhaps {name}' for name in presets_of(state))}"
        )


def _heads(state: Given, config: RetinaFaceConfig) -> list[str]:
    """Say which heads have other numbers of values than the config's at all levels, whose anchors are as many."""
    from engine.model.retinaface import head_module

    settings = {"logits": "classes and class_coding", "landmark_deltas": "mirrored_points"}
    found = []
    for kind in config.head_kinds():
        weights = [f"{head_module(kind)}.{i}.conv1x1.weight" for i in range(len(config.levels))]
        if not all(name in state and len(state[name].shape) == 4 for name in weights):
            continue
        channels = [state[name].shape[0] for name in weights]
        anchors = [len(level.anchors) for level in config.levels]
        values = config.head_values(kind)
        own = {c // a if c % a == 0 else 0 for c, a in zip(channels, anchors, strict=True)}
        if kind == "box_deltas" and own != {values}:
            return []  # the anchors are others
        if len(own) == 1 and not own & {0, values}:
            setting = settings.get(kind, "values")
            found.append(f"{head_module(kind)} has {own.pop()} numbers an anchor, expected {values} as {setting} say")
    return found


def _check_dtypes(state: Given, source: str) -> None:
    import torch

    numbers = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    others = {key: value.dtype for key, value in state.items() if value.dtype not in numbers}
    if others:
        key, dtype = next(iter(others.items()))
        raise WeightsError(
            f"{source} holds {str(dtype).removeprefix('torch.')} in {len(others)} tensors, first {key}, expected "
            "floating-point numbers of 16, 32 or 64 bits. Save the weights as float32"
        )


def _check_values(state: State, source: str) -> None:
    import torch

    # One pass over the values, without a copy; NaN comes through.
    limits = {key: torch.stack(value.aminmax()) for key, value in state.items() if value.numel()}
    bad = [key for key, limit in limits.items() if not limit.isfinite().all()]
    if bad:
        raise WeightsError(
            f"{source} holds NaN or infinity in {len(bad)} tensors, first {bad[0]}, when it is read as float32: the "
            "training diverged or the file is damaged. Take another checkpoint"
        )
    negative = [key for key, limit in limits.items() if key.endswith(_VARIANCE) and limit[0] < 0]
    if negative:
        raise WeightsError(
            f"{source} holds negative variances in {len(negative)} batch normalisations, first {negative[0]}, expected "
            "0 or more: the file is damaged. Take another checkpoint"
        )


def _grouped(what: str, keys: Set[str], everything: Set[str]) -> list[str]:
    """Group keys by module: name complete modules; of others give the number of keys and the first key."""
    groups: dict[str, list[str]] = {}
    for key in sorted(keys):
        groups.setdefault(key.split(".")[0], []).append(key)
    sizes = Counter(key.split(".")[0] for key in everything)
    whole = [group for group, names in groups.items() if len(names) == sizes[group]]
    parts = [f"{what} under {g}: {len(names)} (first {names[0]})" for g, names in groups.items() if g not in whole]
    return [*([f"{what}: all of {', '.join(whole)}"] if whole else []), *parts]
