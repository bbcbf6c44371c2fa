"""A float32 network in, an 8-bit one within an accuracy budget out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config import RetinaFaceConfig
from engine.errors import BuildError, CalibrationError, InvalidArgumentError
from engine.evaluate.agreement import Agreement, agreement
from engine.evaluate.network_detector import NetworkDetector
from engine.files import sha256_of
from engine.precision.budget import Choice, Kept, loss_of, ranking, search
from engine.precision.cache import load_fit, save_fit
from engine.precision.fit import Techniques, fit
from engine.precision.graph import Graph
from engine.precision.images import CalibrationImages, find_images
from engine.precision.placement import FP8, INT8, Assignment, quantisable
from engine.precision.qdq import Coverage, coverage, write_quantised
from engine.precision.rewrite import prepare
from engine.precision.sensitivity import sensitivities
from engine.precision.simulate import Simulation
from engine.preprocess import Letterbox

if TYPE_CHECKING:
    import onnx

QUANTISED_PRECISIONS = ("int8", "fp8", "mixed")
# Without a budget of the user's own: this loss if it can be had for this share of the multiplications.
DEFAULT_LOSS = 0.01
DEFAULT_SHARE = 0.095
_SENSITIVITY_IMAGES = 24


@dataclass(frozen=True)
class QuantisationOptions:
    """How a network is quantised.

    Attributes:
        calib_dir: folder of photos, of any sizes.
        calib_images: how many of them to use; half of them fit, half of them measure the loss.
        cache: file for what fitting found: reused where it was made from the same things, refused where not, written
            where it is missing. None keeps nothing.
        techniques: what is done to keep the faces.
        max_loss: largest loss of mean box IoU; None is DEFAULT_LOSS as far as 90 % of the multiplications stay in 8
            bits, infinity keeps nothing in higher precision.
    """

    calib_dir: str | os.PathLike[str] | None = None
    calib_images: int = 100
    cache: str | os.PathLike[str] | None = None
    techniques: Techniques = field(default_factory=Techniques)
    max_loss: float | None = None

    def __post_init__(self) -> None:
        """Refuse a budget that nothing can meet."""
        if self.max_loss is not None and not self.max_loss > 0:
            raise InvalidArgumentError(
                f"max_loss is {self.max_loss}, expected a positive loss of mean box IoU such as 0.01, or off"
            )


@dataclass(frozen=True)
class Quantised:
    """A quantised network and its evidence.

    Attributes:
        network: Q/DQ in float16, float32 inputs and outputs.
        choice: what was kept in higher precision, and the loss that was measured.
        coverage: what its convolutions compute in.
        images: that were used.
        techniques: that were used.
        max_loss: the budget; None where there was none.
    """

    network: onnx.ModelProto
    choice: Choice
    coverage: Coverage
    images: CalibrationImages
    techniques: dict[str, Any]
    max_loss: float | None

    def precision_record(self) -> dict[str, Any]:
        """For the sidecar: what stayed in higher precision and why, and the agreement with float32."""
        return {
            "kept_higher": [asdict(kept) for kept in self.choice.kept],
            "convolutions": asdict(self.coverage),
            "max_loss": self.max_loss,
            "loss": self.choice.loss,
            "agreement": self.choice.agreement.to_dict(),
        }

    def calibration_record(self) -> dict[str, Any]:
        """For the sidecar: what it was calibrated with."""
        return {
            "images": len(self.images.paths),
            "fitted_to": len(self.images.fitting),
            "measured_on": len(self.images.held_out),
            "skipped": [path.name for path in self.images.skipped],
            "images_sha256": sha256_of("".join(self.images.digests).encode()),
            **self.techniques,
        }


def quantise(
    network: onnx.ModelProto,
    config: RetinaFaceConfig,
    precision: str,
    size: tuple[int, int],
    options: QuantisationOptions,
    *,
    weights_sha256: str,
    fp8_allowed: bool,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Quantised:
    """Quantise an exported network.

    Args:
        network: float32.
        config: of its model.
        precision: one of QUANTISED_PRECISIONS.
        size: (height, width) to letterbox the calibration images to.
        options: how.
        weights_sha256: digest of the weights, for the cache.
        fp8_allowed: whether "mixed" may use FP8.
        on_stage: called with a text as each stage begins and goes on.

    Raises:
        CalibrationError: the images, the network's values or the cache are unusable.
        BuildError: the budget cannot be met.
    """
    if options.calib_dir is None:
        raise InvalidArgumentError(f"precision {precision} needs --calib-dir, a folder of photos like those of production")
    letterbox = Letterbox(size, config, enlarge=False)
    images = find_images(
        options.calib_dir, options.calib_images, letterbox, lambda i, n: on_stage(f"Reading calibration images {i}/{n}")
    )
    for path in images.skipped:
        on_stage(f"Note: {path} is not a readable picture and is skipped")
    graph = Graph(prepare(network), size)
    assignments = _assignments(graph, precision, fp8_allowed)
    key = _key(config, precision, size, graph, options.techniques, images, weights_sha256, sorted(_kinds(assignments)))
    reference, fitted = _fitted(config, graph, assignments, images, options, key, on_stage)
    measure = _Measure(network, config, graph, fitted, images)
    choice = _choose(config, graph, assignments, images, fitted, measure, options, on_stage)
    fitted.assignment = choice.assignment
    written = write_quantised(graph, fitted)
    recorded = {k: key[k] for k in ("method", "equalise", "correct_biases", "learning_steps")}
    budget = DEFAULT_LOSS if options.max_loss is None else options.max_loss
    return Quantised(
        written, choice, coverage(graph, written), images, recorded, None if budget == float("inf") else budget
    )


def _assignments(graph: Graph, precision: str, fp8_allowed: bool) -> list[Assignment]:
    kinds = {"int8": [INT8], "fp8": [FP8], "mixed": [INT8, FP8] if fp8_allowed else [INT8]}[precision]
    return [dict.fromkeys(quantisable(graph, kind), kind) for kind in kinds]


def _kinds(assignments: list[Assignment]) -> set[str]:
    return {kind for assignment in assignments for kind in assignment.values()}


def _fitted(
    config: RetinaFaceConfig,
    graph: Graph,
    assignments: list[Assignment],
    images: CalibrationImages,
    options: QuantisationOptions,
    key: dict[str, Any],
    on_stage: Callable[[str], None],
) -> tuple[Simulation, Simulation]:
    if options.cache is not None and Path(options.cache).exists():
        on_stage(f"Reusing the calibration in {options.cache}")
        reference, network = load_fit(options.cache, key, graph)
        network.assignment = assignments[0]
        return reference, network
    reference, network = fit(config, graph, assignments, images, options.techniques, on_stage)
    if options.cache is not None:
        save_fit(options.cache, key, graph, network)
    return reference, network


class _Measure:
    """Agreement of an assignment's written network with the float32 one, on the held-out images."""

    def __init__(
        self,
        network: onnx.ModelProto,
        config: RetinaFaceConfig,
        graph: Graph,
        fitted: Simulation,
        images: CalibrationImages,
    ) -> None:
        self._config, self._graph, self._fitted, self._images = config, graph, fitted, images
        self._reference = self._faces(network)

    def __call__(self, assignment: Assignment) -> Agreement:
        self._fitted.assignment = assignment
        return agreement(self._reference, self._faces(write_quantised(self._graph, self._fitted)))

    @property
    def faces(self) -> int:
        """How many faces the float32 network finds."""
        return agreement(self._reference, self._reference).faces

    def _faces(self, network: onnx.ModelProto) -> Any:
        images = self._images
        detector = NetworkDetector(network, self._config, images.letterbox.size)
        return detector.detect(images.image(index) for index in images.held_out)


def _choose(
    config: RetinaFaceConfig,
    graph: Graph,
    assignments: list[Assignment],
    images: CalibrationImages,
    fitted: Simulation,
    measure: _Measure,
    options: QuantisationOptions,
    on_stage: Callable[[str], None],
) -> Choice:
    base = assignments[0]
    on_stage("Measuring the loss")
    if options.max_loss == float("inf"):
        return search(base, [], measure, max_loss=None, max_share=0.0)
    if measure.faces == 0:
        if options.max_loss is not None:
            raise CalibrationError(
                f"the float32 network finds no face in {len(images.held_out)} of the calibration images, so no loss can "
                "be measured: give photos with faces, or --max-loss off"
            )
        on_stage("Note: no face in the held-out images: the loss is not known, and nothing is kept in higher precision")
        return search(base, [], measure, max_loss=None, max_share=0.0)
    fitted.assignment = base
    sample = images.fitting[:: max(1, len(images.fitting) // _SENSITIVITY_IMAGES)]
    by_kind = {next(iter(a.values())): a for a in assignments if a}
    effects = sensitivities(config, graph, fitted, images.batches(sample), by_kind)
    explicit = options.max_loss is not None
    choice = search(
        base,
        ranking(graph, base, effects),
        measure,
        max_loss=options.max_loss if explicit else DEFAULT_LOSS,
        max_share=1.0 if explicit else DEFAULT_SHARE,
        on_measured=lambda count, loss: on_stage(f"Kept {count} convolutions in higher precision: loss {loss:.4f}"),
    )
    if explicit and not choice.met:
        raise BuildError(
            f"max_loss {options.max_loss} cannot be met: the smallest loss that was measured is {choice.loss:.4f}, with "
            f"{len(choice.kept)} convolutions in higher precision. Allow {choice.loss:.4f}, or build fp16"
        )
    return choice


def _key(
    config: RetinaFaceConfig,
    precision: str,
    size: tuple[int, int],
    graph: Graph,
    techniques: Techniques,
    images: CalibrationImages,
    weights_sha256: str,
    kinds: list[str],
) -> dict[str, Any]:
    """Everything that a fit depends on."""
    return {
        "weights": weights_sha256,
        "network": sha256_of(graph.model.SerializeToString(deterministic=True)),
        "config": config.to_dict(),
        "preprocessing": {"letterbox": list(size), "enlarge": False},
        "precision": precision,
        "kinds": kinds,
        "images": list(images.digests),
        "method": techniques.method,
        "equalise": techniques.equalise,
        "correct_biases": techniques.correct_biases,
        "learning_steps": techniques.steps_for(graph),
    }


__all__ = ["Kept", "QuantisationOptions", "Quantised", "loss_of", "quantise"]
