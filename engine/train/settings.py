"""The settings of a training run that its result depends on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from engine.config.formats import INT8
from engine.config.model import BODY_STRIDE
from engine.errors import InvalidArgumentError
from engine.train.freezing import NONE
from engine.train.targets.settings import LossSettings

SCHEDULES = ("cosine", "steps")
MAX_SEED = (1 << 32) - 1
_MOST = 1_000_000


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a run. Equal settings, labels and first weights give the same bits on one thread of a CPU.

    Attributes:
        size: height and width of the training samples in pixels.
        widest: side of the largest square of a picture that a sample shows, in short sides of the picture. Above 1 it
            shows some pictures smaller, with padding, as detection does that does not enlarge them.
        epochs: passes over the training pictures.
        batch: pictures of one step, of all processes together.
        learning_rate: the largest one, at the end of the warm-up.
        momentum: of SGD, with which INT8 is not trained.
        weight_decay: of SGD, on the weights of convolutions. Biases and batch normalisations have none: theirs pulls
            scales and shifts towards zero, which regularises nothing (upstream decays them too).
        warm_up: steps in which the learning rate grows linearly.
        schedule: "cosine" lets the learning rate fall to zero; "steps" divides it by ten after .76 and after .88 of the
            epochs, as upstream does at 190 and 220 of 250.
        clip: largest norm of all gradients together; 0 clips nothing.
        average: largest decay of the moving average of the weights, which is judged and saved; 0 averages nothing.
        freeze: what is not trained, see engine.train.freezing.
        focal: focal loss for the classes, in place of hard example mining.
        loss: its thresholds and weights.
        keep_landmarks: whether landmarks are held to those of the first weights where none are labelled, so that
            training on boxes alone does not move them.
        ignore_unlabelled: faces that the first weights find with at least this score, where no label is, are ignored
            rather than taught as background; 0 ignores none.
        judge_every: epochs from one judgement to the next; the last epoch is judged too.
        seed: of the order of the pictures, of their augmentation and of layers that no checkpoint has.
    """

    size: int = 640
    widest: float = 1.0
    epochs: int = 50
    batch: int = 16
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warm_up: int = 200
    schedule: str = "cosine"
    clip: float = 10.0
    average: float = 0.998
    freeze: str = NONE
    focal: bool = False
    loss: LossSettings = field(default_factory=LossSettings)
    keep_landmarks: bool = False
    ignore_unlabelled: float = 0.0
    judge_every: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise InvalidArgumentError for a value out of range."""
        size_fits = 0 < self.size <= 4096 and self.size % BODY_STRIDE == 0
        _require(size_fits, "size", self.size, f"a multiple of {BODY_STRIDE} up to 4096")
        for name, least in (("epochs", 1), ("batch", 1), ("warm_up", 0), ("judge_every", 1)):
            _require(least <= getattr(self, name) <= _MOST, name, getattr(self, name), f"{least} to {_MOST}")
        _require(1 <= self.widest <= 4, "widest", self.widest, "1 to 4")  # its square is in memory
        _require(0 < self.learning_rate <= 10, "learning_rate", self.learning_rate, "above 0, up to 10")
        for name in ("momentum", "average"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "0 or more, below 1")
        for name in ("weight_decay", "ignore_unlabelled"):
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "0 to 1")
        _require(0 <= self.clip <= _MOST, "clip", self.clip, f"0 to {_MOST}")
        _require(self.schedule in SCHEDULES, "schedule", self.schedule, " or ".join(SCHEDULES))
        _require(0 <= self.seed <= MAX_SEED, "seed", self.seed, f"0 to {MAX_SEED}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def default_settings(precision: str) -> TrainSettings:
    """Return the default settings of training for a precision: short for INT8, where little is left to learn."""
    if precision == INT8.name:
        return TrainSettings(epochs=5, learning_rate=5e-4, warm_up=50)
    return TrainSettings()


def _require(ok: bool, name: str, given: object, expected: str) -> None:
    if not ok:
        raise InvalidArgumentError(f"training: {name.replace('_', ' ')} is {given!r:.200}, expected {expected}")
