"""GPU architectures that an engine can be built for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.backend.driver import compute_capability
from engine.backend.tensorrt import Backend
from engine.config.formats import FP32, NumberFormat
from engine.errors import InvalidArgumentError

PORTABLE = "portable"
TARGETS = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")
TARGET_CHOICES = (*TARGETS, PORTABLE)
NATIVE = "this GPU"
# Architectures that TensorRT-RTX has no target for: see its support matrix.
_DATACENTRE = {"sm90": "Hopper", "sm100": "data-centre Blackwell", "sm103": "data-centre Blackwell"}


def check_targets(targets: Sequence[str], runtime: str, needs: NumberFormat = FP32) -> tuple[str, ...]:
    """Return the targets in a fixed order, without repetitions.

    Without any, TensorRT-RTX builds portable engines (8.0, 8.6, 8.9, 12.0 and later) and TensorRT builds for the GPU
    of this machine, the only one that it can build for. If some of the portable ones lack the number format that the
    engine needs, TensorRT-RTX builds for all TARGETS that have it.

    Args:
        targets: as the user gave them.
        runtime: "tensorrt" or "tensorrt-rtx".
        needs: the number format of most convolutions.

    Raises:
        InvalidArgumentError: an unknown target, "portable" beside others, targets for TensorRT, or one without the
            number format.
    """
    unknown = [target for target in targets if target not in TARGET_CHOICES]
    if unknown:
        reason = f"unknown target {unknown[0]!r}, expected one of: {', '.join(TARGET_CHOICES)}"
        if unknown[0] in _DATACENTRE:
            reason += (
                f". TensorRT-RTX does not support {unknown[0]} ({_DATACENTRE[unknown[0]]}), TensorRT does: build on a "
                "machine with that GPU, with --runtime tensorrt and without --target"
            )
        raise InvalidArgumentError(reason)
    if PORTABLE in targets and len(set(targets)) > 1:
        raise InvalidArgumentError("target 'portable' already covers the others: give it alone, or leave it out")
    if runtime == "tensorrt":
        if set(targets) - {PORTABLE}:
            raise InvalidArgumentError(
                f"--target {targets[0]} needs TensorRT-RTX; TensorRT builds for this machine's GPU only: leave "
                "--target out, or add --runtime tensorrt-rtx"
            )
        if needs.capability is not None and not has_format((NATIVE,), needs):
            capability = compute_capability()
            found = "none was found" if capability is None else "compute capability {}.{}".format(*capability)
            raise InvalidArgumentError(
                f"this machine's GPU, which TensorRT builds for, has no {needs.name.upper()} arithmetic ({found}, "
                f"expected {needs.capability[0]}.{needs.capability[1]} or later): choose another precision, or add "
                "--runtime tensorrt-rtx"
            )
        return (NATIVE,)
    having = tuple(target for target in TARGETS if has_format((target,), needs))
    without = [target for target in targets if not has_format((target,), needs)]
    if without:
        covers = ", which covers sm80 and sm86," if without[0] == PORTABLE else ""
        raise InvalidArgumentError(
            f"target {without[0]}{covers} has no {needs.name.upper()} arithmetic: choose from {', '.join(having)}, or "
            "another precision"
        )
    default = (PORTABLE,) if has_format((PORTABLE,), needs) else having
    return tuple(target for target in TARGETS if target in targets) or default


def has_format(targets: Sequence[str], number_format: NumberFormat) -> bool:
    """Return whether all targets, as check_targets returned them, have arithmetic in a number format."""
    needed = number_format.capability
    return needed is None or all((_capability(target) or (0, 0)) >= needed for target in targets)


def _capability(target: str) -> tuple[int, int] | None:
    """Return the compute capability of a target, the lowest one of `portable`; None without a GPU."""
    if target == NATIVE:
        return compute_capability()
    digits = "80" if target == PORTABLE else target.removeprefix("sm")
    return int(digits[:-1]), int(digits[-1])


def set_targets(builder_config: Any, backend: Backend, targets: Sequence[str]) -> None:
    """Set the compute capabilities of a TensorRT-RTX build; portable engines and TensorRT take the default."""
    named = [target for target in targets if target in TARGETS]
    if backend.runtime == "tensorrt-rtx" and named:
        builder_config.num_compute_capabilities = len(named)
        for i, target in enumerate(named):
            builder_config.set_compute_capability(getattr(backend.module.ComputeCapability, target.upper()), i)
