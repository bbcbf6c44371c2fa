"""GPU architectures that an engine can be built for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.backend.driver import compute_capability
from engine.backend.tensorrt import Backend
from engine.errors import InvalidArgumentError

PORTABLE = "portable"
TARGETS = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")
TARGET_CHOICES = (*TARGETS, PORTABLE)
NATIVE = "this GPU"
_FP8_CAPABILITY = (8, 9)
# Architectures that TensorRT-RTX has no target for: see its support matrix.
_DATACENTRE = {"sm90": "Hopper", "sm100": "datacentre Blackwell", "sm103": "datacentre Blackwell"}
FP8_TARGETS = ("sm89", "sm120", "sm121")


def check_targets(targets: Sequence[str], runtime: str, *, needs_fp8: bool = False) -> tuple[str, ...]:
    """Return the targets in a fixed order, without repetitions.

    By default TensorRT-RTX builds portable engines (compute capability 8.0, 8.6, 8.9, 12.0 and later), and FP8 engines
    for all of FP8_TARGETS. TensorRT builds for the GPU of this machine only.

    Raises:
        InvalidArgumentError: an unknown target, "portable" beside others, any target for TensorRT, or one that lacks
            the needed FP8.
    """
    unknown = [target for target in targets if target not in TARGET_CHOICES]
    if unknown:
        reason = f"unknown target {unknown[0]!r}, expected one of: {', '.join(TARGET_CHOICES)}"
        if unknown[0] in _DATACENTRE:
            reason += (
                f". {unknown[0]} ({_DATACENTRE[unknown[0]]}) is a GPU of TensorRT, not of TensorRT-RTX: build on a "
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
        capability = compute_capability()
        if needs_fp8 and not _native_has_fp8(capability):
            found = "none was found" if capability is None else "compute capability {}.{}".format(*capability)
            raise InvalidArgumentError(
                f"this machine's GPU, which TensorRT builds for, has no FP8 arithmetic ({found}, FP8 needs 8.9 or "
                "later): build int8, or add --runtime tensorrt-rtx"
            )
        return (NATIVE,)
    without = [target for target in targets if target not in FP8_TARGETS]
    if needs_fp8 and without:
        covers = ", which covers sm80 and sm86" if without[0] == PORTABLE else ""
        raise InvalidArgumentError(
            f"target {without[0]}{covers} has no FP8 arithmetic: choose from {', '.join(FP8_TARGETS)}, or build int8"
        )
    default = FP8_TARGETS if needs_fp8 else (PORTABLE,)
    return tuple(target for target in TARGETS if target in targets) or default


def has_fp8(targets: Sequence[str]) -> bool:
    """Whether all of the targets, as check_targets returned them, have FP8 arithmetic."""
    if tuple(targets) == (NATIVE,):
        return _native_has_fp8(compute_capability())
    return all(target in FP8_TARGETS for target in targets)


def _native_has_fp8(capability: tuple[int, int] | None) -> bool:
    return capability is not None and capability >= _FP8_CAPABILITY


def set_targets(builder_config: Any, backend: Backend, targets: Sequence[str]) -> None:
    """Set the compute capabilities of a TensorRT-RTX build; portable engines and TensorRT take the default."""
    named = [target for target in targets if target in TARGETS]
    if backend.runtime == "tensorrt-rtx" and named:
        builder_config.num_compute_capabilities = len(named)
        for i, target in enumerate(named):
            builder_config.set_compute_capability(getattr(backend.module.ComputeCapability, target.upper()), i)
