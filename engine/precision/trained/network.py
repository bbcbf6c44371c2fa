"""A quantised network whose weights, biases and scales can be trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from engine.config.formats import INT8, NumberFormat
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import Assignment
from engine.precision.qdq.simulate import Simulation
from engine.precision.trained.rounding import as_half, quantise


class TrainableNetwork(Simulation):
    """A simulation with gradients.

    What is trained are differences from the fitted network, in units that suit each of them: equalisation leaves
    channels whose weights differ by orders of magnitude, and one learning rate has to fit all. A weight's unit is the
    step between two of its integers; a bias's is the same share of its channel's range. Scales of activations are
    trained by their logarithms; those of weights stay as they are: rounding weights costs almost nothing.

    Attributes:
        weight_changes: of each plain convolution, in steps.
        bias_changes: of each convolution, in steps.
        scale_changes: of each activation scale, the logarithm of a factor.
    """

    def __init__(self, graph: Graph, fitted: Simulation, assignment: Assignment, ranges: dict[str, Tensor]) -> None:
        """Begin at a fitted network, which is not changed.

        Args:
            graph: of the network.
            fitted: with weights, biases, steps and scales.
            assignment: number formats to train for.
            ranges: [O], largest magnitude of each output channel of each convolution.
        """
        super().__init__(graph)
        fitted.assignment = assignment
        self._start_weights = {name: fitted.weight(name).clone() for name in graph.convolutions}
        self._start_biases = {name: bias.clone() for name, bias in fitted.biases.items()}
        self._start_scales = dict(fitted.scales)
        self.steps = dict(fitted.steps)
        self.assignment = self.fitted = dict(assignment)
        self._units: dict[str, Tensor] = {}
        for name, weight in self._start_weights.items():
            kind = assignment.get(name)
            step = weight.abs().amax(dim=(1, 2, 3), keepdim=True) / INT8.largest
            self._units[name] = step if kind is None or not kind.is_integer else fitted.steps[name, kind]
        self._bias_units = {name: ranges[name].clamp_min(1e-6) / INT8.largest for name in self._start_biases}
        plain = [c.name for c in graph.convolutions.values() if c.offset is None]
        self.weight_changes = {name: _zeros(self._start_weights[name]) for name in plain}
        self.bias_changes = {name: _zeros(bias) for name, bias in self._start_biases.items()}
        self.scale_changes = {point: _zeros(scale) for point, scale in self._start_scales.items()}

    def run(self, images: Tensor, observe: Callable[[str, Tensor], None] | None = None) -> dict[str, Tensor]:
        """Run a batch with the changes so far; see Simulation.run."""
        self._apply()
        return super().run(images, observe)

    def fake_quantise(self, x: Tensor, scale: Tensor, kind: NumberFormat) -> Tensor:
        """Quantise and dequantise with gradients."""
        return quantise(x, scale, kind)

    def tensors(self, *, trained: bool) -> dict[str, dict[Any, Tensor]]:
        """Return the tensors that are trained, or those that training begins at, in dictionaries by their meaning."""
        if trained:
            return {"weight": self.weight_changes, "bias": self.bias_changes, "scale": self.scale_changes}
        return {
            "start_weight": self._start_weights,
            "start_bias": self._start_biases,
            "start_scale": self._start_scales,
            "step": self.steps,
            "unit": self._units,
            "bias_unit": self._bias_units,
        }

    def write_to(self, network: Simulation) -> None:
        """Give a network of the same graph the trained values."""
        with torch.no_grad():
            self._apply()
            network.weights = {name: weight.detach() for name, weight in self.weights.items()}
            network.exact = dict(network.weights)
            network.biases = {name: bias.detach() for name, bias in self.biases.items()}
            network.scales = {point: scale.detach() for point, scale in self.scales.items()}
        network.assignment = network.fitted = dict(self.assignment)

    def _apply(self) -> None:
        for name, start in self._start_weights.items():
            change = self.weight_changes.get(name)
            self.weights[name] = start if change is None else start + self._units[name] * change
            if change is None:
                self.exact[name] = start
        for name, start in self._start_biases.items():
            self.biases[name] = start + self._bias_units[name] * self.bias_changes[name]
        for point, start in self._start_scales.items():
            self.scales[point] = as_half(start * self.scale_changes[point].exp())


def _zeros(like: Tensor) -> Tensor:
    return torch.zeros_like(like, requires_grad=True)
