"""What each convolution's quantisation costs at the network's outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from engine.config import RetinaFaceConfig
from engine.precision.graph import Graph
from engine.precision.learn import deltas_of, face_weights
from engine.precision.placement import Assignment
from engine.precision.simulate import Simulation
from engine.types import FloatArray

_PROBES = 2


def sensitivities(
    config: RetinaFaceConfig, graph: Graph, network: Simulation, batches: Iterable[FloatArray], kinds: Mapping[str, Assignment]
) -> dict[str, dict[str, float]]:
    """Estimate the squared error that each quantised convolution adds to the regression heads where faces are.

    A convolution's own error is what it puts out with its quantised input and weights less what it would with the
    unquantised ones. Its effect on the heads is linear for errors this small: a random combination of the heads with
    signs +1 and -1 is propagated back, and the square of (gradient x error) has the squared effect for its mean
    (Hutchinson's estimator). One backward pass serves every convolution.

    Args:
        config: names of the heads.
        graph: of the network.
        network: with calibrated scales.
        batches: float32 [1, 3, H, W].
        kinds: assignments to compare, by name, each of which the network has scales for.

    Returns:
        Per name of an assignment, per convolution it quantises, the mean squared effect, in squared units of the heads.
    """
    generator = torch.Generator().manual_seed(0)
    totals = {name: dict.fromkeys(assignment, 0.0) for name, assignment in kinds.items()}
    before = network.assignment
    count = 0
    for batch in batches:
        for _ in range(_PROBES):
            count += 1
            values = _run_with_gradients(config, network, torch.from_numpy(batch), generator)
            for name, assignment in kinds.items():
                network.assignment = assignment
                for convolution, effect in _effects(graph, network, values).items():
                    totals[name][convolution] += effect
            network.assignment = before
    return {name: {c: value / max(1, count) for c, value in total.items()} for name, total in totals.items()}


def _run_with_gradients(
    config: RetinaFaceConfig, network: Simulation, batch: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    values: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor) -> None:
        if value.requires_grad:
            value.retain_grad()
        values[name] = value

    heads = network.run(batch.requires_grad_(), keep)
    combination = torch.zeros(())
    for level in config.levels:
        face = face_weights(heads[f"logits_{level.stride}"]).detach()
        for name, share in deltas_of(config, level.stride):
            parts = heads[name].unflatten(1, (face.shape[1], -1))
            signs = torch.randint(0, 2, parts.shape, generator=generator) * 2 - 1
            combination = combination + (share * face[:, :, None]).sqrt().mul(signs).mul(parts).sum()
    combination.backward()  # type: ignore[no-untyped-call]
    return values


def _effects(graph: Graph, network: Simulation, values: Mapping[str, Tensor]) -> dict[str, float]:
    effects = {}
    nodes = {node.name: node for node in graph.nodes}
    with torch.no_grad():
        for name, kind in network.assignment.items():
            convolution = graph.convolutions[name]
            gradient = values[convolution.output].grad
            x = values[convolution.data]
            error = network.convolve(nodes[name], network.quantise(x, (convolution.data, kind)), exact=False)
            error -= network.convolve(nodes[name], x, exact=True)
            effects[name] = 0.0 if gradient is None else float((gradient * error).sum()) ** 2
    return effects
