"""What each convolution's quantisation costs at the network's outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

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
    assignments: Mapping[str, Assignment],
    on_measured: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, dict[str, float]]:
    """Measure how much of the heads' error each quantised convolution is to blame for.

    Args:
        config: names of the heads.
        network: with an assignment and calibrated scales; it is left as it was.
        reference: the same network in floating point.
        batches: float32 [1, 3, h, w].
        assignments: what else a convolution may be, by name: an empty one for floating point.
        on_measured: called with how many convolutions were measured and how many there are.

    Returns:
        Per name of an assignment, per convolution: by how much the squared error falls when this convolution alone is
        assigned so, as a share of the whole.
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
        found: dict[str, dict[str, float]] = {name: {} for name in assignments}
        for done, convolution in enumerate(base):
            others = {name: kind for name, kind in base.items() if name != convolution}
            for name, alternative in assignments.items():
                changed = {c: alternative[c] for c in (convolution,) if c in alternative}
                if changed or not alternative:
                    found[name][convolution] = 1.0 - error({**others, **changed}) / whole
            on_measured(done + 1, len(base))
    network.assignment = base
    return found
