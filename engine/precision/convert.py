"""The float32 network in the precision that was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.config.formats import PRECISIONS, QUANTISED_PRECISIONS
from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError
from engine.precision.cast import bf16_on_float32, to_bf16, to_fp16
from engine.precision.options import QuantisationOptions, Techniques

if TYPE_CHECKING:
    import onnx

    from engine.config.detection import Thresholds

_ROUNDED_TO_NEAREST = QuantisationOptions(techniques=Techniques(round_weights=False))


@dataclass(frozen=True)
class TypedNetwork:
    """A network whose types say its precision.

    Attributes:
        network: what TensorRT compiles.
        on_cpu: what ONNX Runtime runs; the same, but for bfloat16.
        precision: for the sidecar.
        calibration: for the sidecar; None where there was none.
    """

    network: onnx.ModelProto
    on_cpu: onnx.ModelProto
    precision: dict[str, Any]
    calibration: dict[str, Any] | None = None


def check_precision(precision: str, options: QuantisationOptions) -> None:
    """Raise InvalidArgumentError unless there is such a precision and the calibration options belong to it.

    Raise CalibrationError where calibration could not even begin.
    """
    if precision not in PRECISIONS:
        raise InvalidArgumentError(f"precision is {precision!r}, expected one of: {', '.join(PRECISIONS)}")
    if precision in QUANTISED_PRECISIONS:
        options.check(precision)
        assert options.calib_dir is not None
        from engine.precision.calibrate.images import calibration_files  # brings OpenCV along

        calibration_files(options.calib_dir)
    elif options != QuantisationOptions() and not (precision == "bf16" and options == _ROUNDED_TO_NEAREST):
        raise InvalidArgumentError(
            f"calibration options are given, but precision {precision} needs none; they are for "
            f"{', '.join(QUANTISED_PRECISIONS)} (--no-round-weights for bf16 too)"
        )


def to_precision(
    network: onnx.ModelProto,
    config: RetinaFaceConfig,
    precision: str,
    size: tuple[int, int],
    options: QuantisationOptions,
    *,
    weights_sha256: str,
    fp8_allowed: bool,
    on_stage: Callable[[str], None],
    thresholds: Thresholds | None = None,
) -> TypedNetwork:
    """Return an exported float32 network in one of PRECISIONS; see cast, bf16 and quantise for arguments and errors."""
    plain: dict[str, Any] = {"mode": precision, "kept_higher": []}
    if precision == "fp32":
        return TypedNetwork(network, network, plain)
    if precision == "fp16":
        on_stage("Casting to float16")
        half = to_fp16(network)
        return TypedNetwork(half, half, plain)
    if precision == "bf16":
        plain["round_weights"] = options.techniques.round_weights
        if options.techniques.round_weights:
            from engine.precision.bf16 import round_to_bf16

            network = round_to_bf16(network, config, size, on_stage)
        on_stage("Casting to bfloat16")
        return TypedNetwork(to_bf16(network), bf16_on_float32(network), plain)
    from engine.precision.quantise import quantise

    quantised = quantise(
        network, config, precision, size, options,
        weights_sha256=weights_sha256, fp8_allowed=fp8_allowed, on_stage=on_stage, thresholds=thresholds,
    )  # fmt: skip
    record = {"mode": precision, **quantised.precision_record()}
    return TypedNetwork(quantised.network, quantised.network, record, quantised.calibration_record())
