"""The state of a run between two steps, in one file: whole or not at all, and read without executing anything."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.config.model import RetinaFaceConfig
from engine.config.reader import ADDED, read_dataclass
from engine.errors import InvalidArgumentError, TrainingError
from engine.metrics.classes import ClassTable
from engine.metrics.heads import HeadErrors
from engine.model.weights.checkpoint import read_checkpoint
from engine.model.weights.stored import StoredTensor
from engine.untrusted.files import read_into_memory
from engine.untrusted.json_text import parse_json
from engine.untrusted.limits import MAX_CHECKPOINT_BYTES
from engine.writing import write_file

Tensors = dict[str, torch.Tensor]

# `build` finds the first one in a file: the weights to use.
USED, TRAINED, OPTIMISER, FIRST, ABOUT = "state_dict", "trained", "optimiser", "first", "about"


@dataclass(frozen=True)
class EpochRecord:
    """What became of an epoch.

    Attributes:
        epoch: counts from 1.
        learning_rate: of its last step.
        losses: mean of each part over its steps, by name.
        average_precision: on the validation labels; None without.
        by_size: the same for each of engine.metrics.average_precision.SIZE_BINS, None where there is no face.
        classes: of the faces that are found; None without validation labels, or with one class.
        head_errors: of the points and values of the faces that are found; None without validation labels.
    """

    epoch: int
    learning_rate: float
    losses: dict[str, float]
    average_precision: float | None = None
    by_size: tuple[float | None, ...] = ()
    classes: ClassTable | None = field(default=None, metadata={ADDED: True})
    head_errors: HeadErrors | None = field(default=None, metadata={ADDED: True})


@dataclass
class Position:
    """How far a run is.

    Attributes:
        epoch: that is running, from 0.
        step: of the epoch, that comes next.
        sums: of the losses' parts over the steps of this epoch, by name.
        records: of the epochs that are over.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    records: tuple[EpochRecord, ...] = ()


@dataclass(frozen=True)
class Given:
    """Something that a run was given.

    Attributes:
        name: as it was given: a path, or the name of weights.
        sha256: of the content; None for random weights.
    """

    name: str
    sha256: str | None


@dataclass(frozen=True)
class Beginning:
    """What a run began with.

    Attributes:
        weights: that it started from.
        backbone_only: whether these are those of a body alone.
        note: in words, where they come from.
        training: labels that are learned from.
        validation: labels that are judged with.
        config: of the network, with the anchors that are trained.
        kept: in training for a quantised precision, the convolutions that stay in a higher one, as KeptLayer.to_dict
            gives them.
        average_precision: of the network before a step, on the validation labels, if an epoch has to be better.
    """

    weights: Given
    backbone_only: bool
    note: str
    training: Given
    validation: Given | None
    config: RetinaFaceConfig
    kept: tuple[dict[str, Any], ...] = ()
    average_precision: float | None = None


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run.

    Attributes:
        made_with: settings, by name: plain values. A checkpoint fits only the same ones.
        began: what the run began with.
        position: how far it is.
        used: the weights that are judged and saved: the average, or those that are trained.
        updates: of the average.
        trained: the weights that are trained, with layers that serve training alone.
        optimiser: its tensors, see state_of.
        scale: of the losses in mixed precision.
        first: the weights that the run started from, if it needs them later on.
    """

    made_with: dict[str, Any]
    began: Beginning
    position: Position
    used: Tensors
    updates: int
    trained: Tensors
    optimiser: Tensors
    scale: float = 1.0
    first: Tensors = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the file; OutputError if that fails, and what it held before is unchanged."""
        about = {
            "made_with": self.made_with,
            "began": asdict(self.began),
            "position": asdict(self.position),
            "updates": self.updates,
            "scale": self.scale,
        }
        content = io.BytesIO()
        torch.save(
            {
                USED: _on_cpu(self.used),
                TRAINED: _on_cpu(self.trained),
                OPTIMISER: _on_cpu(self.optimiser),
                FIRST: _on_cpu(self.first),
                ABOUT: json.dumps(about),
            },
            content,
        )
        write_file(path, content.getvalue())

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read a file that write made.

        Raises:
            TrainingError: it cannot be read, or is something else.
        """
        try:
            holds = read_checkpoint(read_into_memory(path, MAX_CHECKPOINT_BYTES))
            about = parse_json(holds[ABOUT].encode())
            used, trained, optimiser, first = (_loaded(holds[name]) for name in (USED, TRAINED, OPTIMISER, FIRST))
            began = read_dataclass(Beginning, about["began"], "began")
            position = read_dataclass(Position, about["position"], "position")
            updates, scale = int(about["updates"]), float(about["scale"])
            made_with = dict(about["made_with"])
            return cls(made_with, began, position, used, updates, trained, optimiser, scale, first)
        except OSError as error:
            raise TrainingError(f"the checkpoint {path} cannot be read: {error.strerror}") from error
        except (InvalidArgumentError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise TrainingError(
                f"{path} is no checkpoint of a training run, or damaged ({error!s:.200}): give --weights to start "
                "another run from its weights, in another folder"
            ) from error

    def check(self, made_with: Mapping[str, Any], path: Path) -> None:
        """Raise InvalidArgumentError that names the first thing in which a run differs from the checkpoint's."""
        ours, theirs = _flat(made_with), _flat(self.made_with)
        for name in dict.fromkeys([*ours, *theirs]):
            if ours.get(name) != theirs.get(name):
                raise InvalidArgumentError(
                    f"the checkpoint {path} was made with {name} {theirs.get(name)}, this run has {ours.get(name)}: "
                    "give the same to go on, or train in another folder"
                )


def restore(module: nn.Module, tensors: Tensors, what: str) -> None:
    """Put a checkpoint's tensors into a module; TrainingError unless all names and shapes are the same."""
    expected = {name: value.shape for name, value in module.state_dict().items()}
    given = {name: value.shape for name, value in tensors.items()}
    if given != expected:
        other = next(name for name in [*expected, *given] if expected.get(name) != given.get(name))
        raise TrainingError(
            f"the checkpoint is damaged: {what} has {other} of shape {given.get(other)}, expected {expected.get(other)}"
        )
    module.load_state_dict(tensors)


def state_of(model: nn.Module, optimiser: torch.optim.Optimizer) -> Tensors:
    """Return the optimiser's tensors, such as momentum, by their kind and the names of the parameters.

    Parameters without a step yet have none.
    """
    states = {name: optimiser.state[p] for name, p in model.named_parameters() if p in optimiser.state}
    return {
        f"{kind} {name}": value
        for name, state in states.items()
        for kind, value in state.items()
        if isinstance(value, torch.Tensor)
    }


def restore_state(model: nn.Module, optimiser: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Give an optimiser the tensors of a checkpoint; TrainingError unless they fit the parameters."""
    parameters = dict(model.named_parameters())
    for key, value in tensors.items():
        kind, _, name = key.partition(" ")
        counts = kind == "step"  # of Adam, on the CPU
        if name not in parameters or value.shape != (torch.Size() if counts else parameters[name].shape):
            raise TrainingError(f"the checkpoint is damaged: it has {kind} of {name}, which is no such parameter")
        device = "cpu" if counts else parameters[name].device
        optimiser.state[parameters[name]][kind] = value.to(device).clone()


def _on_cpu(tensors: Tensors) -> Tensors:
    """Return tensors without the rest of the memory that they are views of."""
    return {name: value.detach().cpu().clone() for name, value in tensors.items()}


def _loaded(tensors: dict[str, StoredTensor]) -> Tensors:
    loaded = {name: value.load().clone() for name, value in tensors.items()}
    bad = next((name for name, value in loaded.items() if not torch.isfinite(value).all()), None)
    if bad is not None:
        raise ValueError(f"{bad} is not finite")
    return loaded


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return values as JSON by their dotted names."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        inner = _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: json.dumps(value)}
        flat |= inner
    return flat
