"""Conversion of a float32 network to another precision."""

from __future__ import annotations

from typing import Any

from engine.config.formats import PRECISIONS, QUANTISED_PRECISIONS
from engine.errors import InvalidArgumentError
from engine.precision.cast import bf16_on_float32, to_bf16, to_fp16
from engine.precision.options import Conversion, QuantisationOptions, Techniques, TypedNetwork

_ROUNDED_TO_NEAREST = QuantisationOptions(techniques=Techniques(round_weights=False))


def check_precision(precision: str, options: QuantisationOptions) -> None:
    """Check options before any work.

    Raises:
        InvalidArgumentError: unknown precision, or options that it cannot use.
        CalibrationError: no folder of photos, or a cache that cannot be written.
    """
    if precision not in PRECISIONS:
        raise InvalidArgumentError(f"precision is {precision!r}, expected one of: {', '.join(PRECISIONS)}")
    if precision in QUANTISED_PRECISIONS:
        options.check(precision)
        if options.calib_dir is not None:
            from engine.precision.calibrate.images import calibration_files  # imports OpenCV

            calibration_files(options.calib_dir)
    elif options != QuantisationOptions() and not (precision == "bf16" and options == _ROUNDED_TO_NEAREST):
        raise InvalidArgumentError(
            f"calibration options are given, but precision {precision} needs none; they are for "
            f"{', '.join(QUANTISED_PRECISIONS)} (--no-round-weights for bf16 too)"
        )


def to_precision(conversion: Conversion) -> TypedNetwork:
    """Convert a network.

    Raises:
        CalibrationError: the images, the network's values or the cache cannot be used.
        BuildError: a weight does not fit the number format, an operator cannot be quantised, or the accuracy budget
            cannot be met.
    """
    network, precision = conversion.network, conversion.precision
    plain: dict[str, Any] = {"kept_higher": []}
    if precision in ("fp32", "tf32"):
        return TypedNetwork(network, network, plain)
    if precision == "fp16":
        conversion.on_stage("Casting to float16")
        half = to_fp16(network)
        return TypedNetwork(half, half, plain)
    if precision == "bf16":
        plain["round_weights"] = conversion.options.techniques.round_weights
        if plain["round_weights"]:
            from engine.precision.bf16 import round_to_bf16

            network = round_to_bf16(network, conversion.config, conversion.size, conversion.on_stage)
        conversion.on_stage("Casting to bfloat16")
        return TypedNetwork(to_bf16(network), bf16_on_float32(network), plain)
    from engine.precision.quantise import quantise

    return quantise(conversion)
