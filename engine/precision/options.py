"""What a user can say about quantisation; nothing here needs PyTorch or ONNX."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import CalibrationError, InvalidArgumentError
from engine.files import check_writable

MINIMUM_IMAGES = 4
METHODS = ("importance", "max", "percentile", "mse", "entropy")


@dataclass(frozen=True)
class Techniques:
    """What is done to keep the faces, each of it on or off.

    Attributes:
        method: one of METHODS, how activations' ranges come from what calibration saw.
        equalise: give every channel of a tensor one range.
        correct_biases: let biases take back the shift of the channels' means.
        round_weights: round weights so that their errors cancel.
        learning_steps: of learned rounding; 0 is off.
    """

    method: str = "importance"
    equalise: bool = True
    correct_biases: bool = False
    round_weights: bool = True
    learning_steps: int = 0

    def __post_init__(self) -> None:
        """Refuse what there is not."""
        if self.method not in METHODS:
            raise InvalidArgumentError(f"calibration method is {self.method!r}, expected one of: {', '.join(METHODS)}")
        if self.learning_steps < 0:
            raise InvalidArgumentError(f"learning_steps is {self.learning_steps}, expected 0 or more")


@dataclass(frozen=True)
class QuantisationOptions:
    """How a network is quantised.

    Attributes:
        calib_dir: folder of photos, of any sizes.
        calib_images: how many of them to use; half of them fit, half of them measure the loss.
        cache: file for what fitting found: reused where it was made from the same things, refused where not, written
            where it is missing. None keeps nothing.
        techniques: what is done to keep the faces.
        max_loss: largest loss of mean box IoU; None is 0.01, but in INT8 the smallest that can be had with 90 % of
            the multiplications in 8 bits; infinity keeps nothing in higher precision.
    """

    calib_dir: str | os.PathLike[str] | None = None
    calib_images: int = 100
    cache: str | os.PathLike[str] | None = None
    techniques: Techniques = field(default_factory=Techniques)
    max_loss: float | None = None

    def __post_init__(self) -> None:
        """Refuse a budget that nothing can meet."""
        if self.max_loss is not None and not self.max_loss > 0:
            raise InvalidArgumentError(
                f"max_loss is {self.max_loss}, expected a positive loss of mean box IoU such as 0.01, or off"
            )

    def check(self, precision: str) -> None:
        """Raise InvalidArgumentError where a quantised precision cannot do without what is missing.

        Raise CalibrationError where the folder of the cache cannot be written to.
        """
        if self.calib_dir is None:
            raise InvalidArgumentError(f"precision {precision} needs --calib-dir: a folder of photos like production's")
        if self.calib_images < MINIMUM_IMAGES:
            raise InvalidArgumentError(f"calib_images is {self.calib_images}, expected at least {MINIMUM_IMAGES}")
        if self.cache is not None:
            try:
                check_writable(Path(self.cache).parent)
            except OSError as error:
                raise CalibrationError(f"calibration cache {self.cache} cannot be written: {error.strerror}") from error
