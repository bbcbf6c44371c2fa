"""A quantised network as a module that the training loop takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor, nn

from engine.config.model import RetinaFaceConfig
from engine.precision.qdq.simulate import Simulation
from engine.precision.trained.network import TrainableNetwork
from engine.precision.trained.stored import Calibrated

K = TypeVar("K")

_SCALE_SHARE = 0.1  # of the learning rate: scales are trained by their logarithms, in which .003 is a large step


class QuantisedNetwork(nn.Module):
    """Computes what the Q/DQ graph computes, with gradients; see TrainableNetwork for what is trained.

    Parameters are the changes since calibration; buffers are what training begins at, so the state is complete.

    Attributes:
        config: of the model.
        graph: of the network.
        kept: convolutions in a higher precision, as KeptLayer.to_dict gives them.
    """

    def __init__(self, config: RetinaFaceConfig, calibrated: Calibrated) -> None:
        """Begin at a calibrated network, which is not changed."""
        super().__init__()
        self.config, self.graph, self.kept = config, calibrated.graph, calibrated.kept
        network = calibrated.network
        self._simulation = TrainableNetwork(self.graph, network, network.assignment, calibrated.ranges)
        # Where the simulation has each tensor, and the name that it has here: both are the same tensor.
        self._places: list[tuple[dict[Any, Tensor], Any, str]] = []
        for trained in (True, False):
            for kind, values in self._simulation.tensors(trained=trained).items():
                for key, value in values.items():
                    name = f"{kind}/{'/'.join(map(str, key)) if isinstance(key, tuple) else key}".replace(".", "/")
                    self._places.append((values, key, name))
                    if trained:
                        self.register_parameter(name, nn.Parameter(value.detach()))
                    else:
                        self.register_buffer(name, value.detach())
        self._share_tensors()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map images float32 [N, 3, H, W], normalised, to the heads, in the order of config.head_names()."""
        heads = self._simulation.run(images)
        return tuple(heads[name] for name in self.config.head_names())

    def by_share(self) -> dict[float, list[nn.Parameter]]:
        """Return the parameters by their share of the learning rate."""
        scales = self._simulation.tensors(trained=True)["scale"].values()
        others = {id(scale) for scale in scales}
        return {
            1.0: [p for p in self.parameters() if id(p) not in others],
            _SCALE_SHARE: [p for p in self.parameters() if id(p) in others],
        }

    def as_trained(self) -> Simulation:
        """Return the network as it is now, on the CPU, without gradients."""
        network = Simulation(self.graph)
        self._simulation.write_to(network)
        network.weights, network.biases = _copied(network.weights), _copied(network.biases)
        network.exact, network.scales = network.weights, _copied(network.scales)
        network.steps = _copied(self._simulation.steps)
        return network

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> QuantisedNetwork:
        """Move all tensors, as `to` does."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._share_tensors()
        return self

    def _share_tensors(self) -> None:
        for values, key, name in self._places:
            values[key] = getattr(self, name)


def _copied(tensors: dict[K, Tensor]) -> dict[K, Tensor]:
    return {key: value.detach().cpu().clone() for key, value in tensors.items()}
