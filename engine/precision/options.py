"""A conversion to another precision: its settings and its result; nothing here imports PyTorch or ONNX."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config.detection import Thresholds
from engine.config.formats import FORMATS, PRECISIONS, NumberFormat
from engine.config.model import RetinaFaceConfig
from engine.errors import CalibrationError, InvalidArgumentError
from engine.writing import check_name, check_writable

if TYPE_CHECKING:
    import onnx

MINIMUM_IMAGES = 4
METHODS = ("auto", "importance", "max", "percentile", "mse", "entropy")


@dataclass(frozen=True)
class Techniques:
    """How a quantised network is fitted to the calibration images.

    Attributes:
        method: one of METHODS: how the range of an activation is chosen; "auto" is "importance", or "max" where the
            images have few faces.
        equalise: give all channels of a tensor the same range.
        round_weights: round weights so that their errors cancel, instead of each to the nearest value.
    """

    method: str = "auto"
    equalise: bool = True
    round_weights: bool = True

    def __post_init__(self) -> None:
        """Raise InvalidArgumentError for an unknown method."""
        if self.method not in METHODS:
            raise InvalidArgumentError(f"calibration method is {self.method!r}, expected one of: {', '.join(METHODS)}")


@dataclass(frozen=True)
class QuantisationOptions:
    """Options of quantisation.

    Attributes:
        calib_dir: folder of photos, of any sizes. A trained network (see `cache`) needs none.
        calib_images: how many of them to use. Half are for fitting and half for measuring the loss; three quarters are
            for fitting where max_loss is infinity. With few faces in them all are for both.
        cache: file of fitted scales and weights. It is written if missing, reused if it was made from the same inputs,
            and refused otherwise. None writes nothing. Or the file of a network that was trained for the precision.
        techniques: how the network is fitted.
        max_loss: largest allowed loss (metrics.agreement.Agreement.loss). Infinity keeps no convolution in higher
            precision. None is 0.01; for INT8 it keeps the most sensitive convolutions in FP16, up to 9.5 % of the MACs,
            whatever the loss.
        train_steps: steps of training on the images for fitting, after calibration; 0 is none.
    """

    calib_dir: str | os.PathLike[str] | None = None
    calib_images: int = 100
    cache: str | os.PathLike[str] | None = None
    techniques: Techniques = field(default_factory=Techniques)
    max_loss: float | None = None
    train_steps: int = 0

    def __post_init__(self) -> None:
        """Raise InvalidArgumentError for a loss that is not positive, or steps that cannot be counted."""
        if self.train_steps < 0:
            raise InvalidArgumentError(f"train_steps is {self.train_steps}, expected 0 (no training) or more")
        if self.max_loss is not None and not self.max_loss > 0:
            raise InvalidArgumentError(
                f"max_loss is {self.max_loss}, expected a positive loss of positions such as 0.01, or off"
            )

    def check(self, precision: str) -> None:
        """Check that a network can be quantised with these options.

        Raises:
            InvalidArgumentError: no folder of photos, or too few photos.
            CalibrationError: the folder of the cache cannot be written to.
        """
        if self.calib_dir is None and not (self.cache is not None and Path(self.cache).exists()):
            raise InvalidArgumentError(
                f"precision {precision} needs --calib-dir: a folder of photos like production's; or --calib-cache: the "
                "file of a training for this precision"
            )
        if self.calib_images < MINIMUM_IMAGES:
            raise InvalidArgumentError(f"calib_images is {self.calib_images}, expected at least {MINIMUM_IMAGES}")
        if self.cache is not None:
            try:
                check_writable(Path(self.cache).parent)
                check_name(Path(self.cache))
            except OSError as error:
                raise CalibrationError(f"calibration cache {self.cache} cannot be written: {error.strerror}") from error


@dataclass(frozen=True)
class Conversion:
    """A network to convert, its new precision, and how.

    Attributes:
        network: exported, float32.
        config: of its model.
        precision: one of config.formats.PRECISIONS.
        size: (height, width) that calibration images are letterboxed to and MACs are counted for.
        options: calibration and accuracy budget.
        weights_sha256: digest of the weights, for the calibration cache.
        available: number formats that all target GPUs have.
        thresholds: for decoding and suppression where the loss is measured.
        on_stage: called with a text as each stage begins and goes on.
    """

    network: onnx.ModelProto
    config: RetinaFaceConfig
    precision: str
    size: tuple[int, int]
    options: QuantisationOptions = field(default_factory=QuantisationOptions)
    weights_sha256: str = ""
    available: tuple[NumberFormat, ...] = FORMATS
    thresholds: Thresholds = field(default_factory=Thresholds)
    on_stage: Callable[[str], None] = lambda stage: None

    @property
    def formats(self) -> list[NumberFormat]:
        """Number formats to use, that of most convolutions first."""
        base, *others = PRECISIONS[self.precision]
        return [base, *(other for other in others if other in self.available)]


@dataclass(frozen=True)
class TypedNetwork:
    """The result of a conversion: a network whose tensor types are its precision.

    Attributes:
        network: for TensorRT; inputs and outputs are float32.
        on_cpu: for the CPU session; another than `network` in bfloat16 only.
        evidence: for the sidecar: layers kept in a higher precision, agreement with float32, ...
        calibration: for the sidecar: images and techniques; None without calibration.
    """

    network: onnx.ModelProto
    on_cpu: onnx.ModelProto
    evidence: dict[str, Any]
    calibration: dict[str, Any] | None = None
