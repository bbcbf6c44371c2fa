"""Share of each convolution's quantisation in the error of the network's outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from engine.config.formats import NumberFormat
from engine.config.model import RetinaFaceConfig
from engine.precision.qdq.heads import squared_head_error
from engine.precision.qdq.placement import Assignment
from engine.precision.qdq.simulate import Simulation
from engine.types import FloatArray


def sensitivities(
    config: RetinaFaceConfig,
    network: Simulation,
    reference: Simulation,
    batches: Sequence[FloatArray],
    alternatives: Mapping[NumberFormat, Assignment],
    on_measured: Callable[[int, int], None] = lambda done, total: None,
) -> dict[NumberFormat, dict[str, float]]:
    """Measure how much the error falls when one convolution alone has another number format.

    Args:
        config: names of the heads.
        network: with an assignment and calibrated scales; unchanged afterwards.
        reference: the same network in floating point.
        batches: float32 [1, 3, h, w].
        alternatives: for each other format, the convolutions that can use it. An empty assignment stands for floating
            point, which all can use.
        on_measured: called with the number of measured convolutions and the number of all.

    Returns:
        For each alternative and each convolution that can use it: the fall of the squared error of the heads, as a
        share of the whole error.
    """
    base = network.assignment
    inputs = [torch.from_numpy(batch) for batch in batches]
    with torch.no_grad():
        wanted = [reference.run(x) for x in inputs]

        def error(assignment: Assignment) -> float:
            network.assignment = assignment
            return sum(
                float(squared_head_error(config, heads, network.run(x)))
                for heads, x in zip(wanted, inputs, strict=True)
            )

        whole = error(base) or 1.0
        found: dict[NumberFormat, dict[str, float]] = {kind: {} for kind in alternatives}
        for done, convolution in enumerate(base):
            others = {name: kind for name, kind in base.items() if name != convolution}
            for kind, alternative in alternatives.items():
                changed = {c: alternative[c] for c in (convolution,) if c in alternative}
                if changed or not alternative:
                    found[kind][convolution] = 1.0 - error({**others, **changed}) / whole
            on_measured(done + 1, len(base))
    network.assignment = base
    return found
