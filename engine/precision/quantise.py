"""A float32 network in, an 8-bit one within an accuracy budget out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.config.model import RetinaFaceConfig
from engine.errors import BuildError, CalibrationError
from engine.files import sha256_of
from engine.metrics.agreement import Agreement, agreement
from engine.precision.calibrate.cache import load_fit, save_fit
from engine.precision.calibrate.crops import crop, face_centres
from engine.precision.calibrate.fit import fit
from engine.precision.calibrate.images import CalibrationImages, find_images
from engine.precision.learn import learn
from engine.precision.options import QuantisationOptions, Techniques
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import FP8, INT8, Assignment, quantisable
from engine.precision.qdq.rewrite import prepare
from engine.precision.qdq.simulate import Simulation
from engine.precision.qdq.writer import Coverage, coverage, write_quantised
from engine.precision.search.budget import Choice, keep, ranking, search, within_share
from engine.precision.search.sensitivity import sensitivities
from engine.runtime.cpu.network_detector import NetworkDetector
from engine.runtime.letterbox import Letterbox

if TYPE_CHECKING:
    import onnx

    from engine.config.detection import Thresholds

# Without a budget of the user's own: this loss. But INT8 keeps what matters most within a share of the multiplications,
# whatever the loss: that costs little time, and one held-out face at a score of .5 does not decide.
DEFAULT_LOSS = 0.01
DEFAULT_SHARE = 0.095
_SENSITIVITY_CROPS = 24
# Raised with every change of what fitting finds: caches of before are refused.
_FITTING = 3


@dataclass(frozen=True)
class Quantised:
    """A quantised network and its evidence.

    Attributes:
        network: Q/DQ in float16, float32 inputs and outputs.
        choice: what was kept in higher precision, and the loss that was measured.
        coverage: what its convolutions compute in.
        images: that were used.
        techniques: that were used.
        max_loss: the budget; None where there was none, or where no face was found to measure it by.
        runtime: name and version of what ran both networks where the agreement was measured.
    """

    network: onnx.ModelProto
    choice: Choice
    coverage: Coverage
    images: CalibrationImages
    techniques: dict[str, Any]
    max_loss: float | None
    runtime: str

    def precision_record(self) -> dict[str, Any]:
        """For the sidecar: what stayed in higher precision and why, and the agreement with float32."""
        return {
            "kept_higher": [asdict(kept) for kept in self.choice.kept],
            "convolutions": asdict(self.coverage),
            "max_loss": self.max_loss,
            "loss": self.choice.agreement.loss if self.choice.agreement.faces else None,
            "agreement": self.choice.agreement.to_dict(),
            "measured_on": self.runtime,
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
    thresholds: Thresholds | None = None,
) -> Quantised:
    """Quantise an exported network.

    Args:
        network: float32.
        config: of its model.
        precision: one of config.formats.QUANTISED_PRECISIONS.
        size: (height, width) to letterbox the calibration images to.
        options: how.
        weights_sha256: digest of the weights, for the cache.
        fp8_allowed: whether "mixed" may use FP8.
        on_stage: called with a text as each stage begins and goes on.
        thresholds: that faces are decoded and suppressed with where the loss is measured; None is the default.

    Raises:
        CalibrationError: the images, the network's values or the cache are unusable.
        BuildError: the budget cannot be met.
    """
    options.check(precision)
    assert options.calib_dir is not None
    letterbox = Letterbox(size, config, enlarge=False)
    images = find_images(
        options.calib_dir,
        options.calib_images,
        letterbox,
        lambda done, total: on_stage(f"Reading calibration images {done}/{total}"),
        # A budget is measured on as many pictures as were fitted to; without one there is nothing to decide by them.
        hold_out=4 if options.max_loss == float("inf") else 2,
    )
    for path in images.skipped:
        on_stage(f"Note: {path} is not a readable picture and is skipped")
    graph = Graph(prepare(network), size)
    assignments = _assignments(graph, precision, fp8_allowed)
    key = _key(config, precision, size, graph, options.techniques, images, weights_sha256, sorted(_kinds(assignments)))
    reference, fitted = _fitted(config, graph, assignments, images, options, key, on_stage)
    measure = _Measure(network, config, graph, fitted, images, thresholds)
    measurable = measure.faces > 0
    if not measurable:
        _without_faces(images, options.max_loss, on_stage)
    steps = options.techniques.learning_steps if measurable and assignments[0] else 0
    if steps:
        _learn(config, reference, fitted, images, steps, measure, on_stage)
    base, decides = assignments[0], measurable and options.max_loss != float("inf")
    gains = _gains(config, assignments, images, reference, fitted, on_stage) if decides else {}
    ranked = ranking(graph, base, gains) if decides else []
    budget = options.max_loss or (DEFAULT_LOSS if precision != "int8" else None)
    if decides and budget is not None:
        choice = search(
            base, ranked, measure,
            max_loss=budget,
            on_measured=lambda count, loss: on_stage(f"Kept {count} convolutions in higher precision: loss {loss:.4f}"),
        )  # fmt: skip
    else:
        on_stage("Measuring the loss")
        choice = keep(base, within_share(ranked, DEFAULT_SHARE), measure)
    if options.max_loss is not None and not choice.met:
        raise BuildError(_not_met(options.max_loss, choice))
    fitted.assignment = choice.assignment
    written = write_quantised(graph, fitted)
    recorded = {**asdict(options.techniques), "learning_steps": steps}
    return Quantised(
        written,
        choice,
        coverage(graph, written),
        images,
        recorded,
        budget if decides else None,
        measure.runtime,
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
        reference, network = load_fit(options.cache, key, graph, assignments)
        network.assignment = network.fitted = assignments[0]
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
        thresholds: Thresholds | None,
    ) -> None:
        self._config, self._graph, self._fitted, self._images = config, graph, fitted, images
        self._thresholds = thresholds
        self.runtime = ""
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
        detector = NetworkDetector(network, self._config, images.letterbox.size, thresholds=self._thresholds)
        self.runtime = detector.runtime
        return detector.detect(images.image(index) for index in images.held_out)


def _without_faces(images: CalibrationImages, max_loss: float | None, on_stage: Callable[[str], None]) -> None:
    """Say what it means that no loss can be measured; raise CalibrationError where the user named one."""
    if max_loss is not None and max_loss < float("inf"):
        raise CalibrationError(
            f"the float32 network finds no face in {len(images.held_out)} of the calibration images, so no loss can be "
            "measured: give photos with faces (of scores above --score-threshold), or --max-loss off"
        )
    on_stage(
        "Note: no face in the held-out images: the loss is not known, nothing is learned and nothing kept in higher "
        "precision"
    )


def _learn(
    config: RetinaFaceConfig,
    reference: Simulation,
    fitted: Simulation,
    images: CalibrationImages,
    steps: int,
    measure: _Measure,
    on_stage: Callable[[str], None],
) -> None:
    """Teach the network with nothing kept; what was learned is undone where the held-out faces agree less."""
    base = fitted.fitted
    before = measure(base).loss
    state = dict(fitted.weights), dict(fitted.biases), dict(fitted.scales)
    learn(config, reference, fitted, images, steps, lambda done, total: on_stage(f"Learning {done}/{total}"))
    after = measure(base).loss
    if after > before:
        on_stage(f"Learning raised the loss from {before:.4f} to {after:.4f} and is undone")
        fitted.weights, fitted.biases, fitted.scales = state
    else:
        on_stage(f"Learning lowered the loss from {before:.4f} to {after:.4f}")


def _gains(
    config: RetinaFaceConfig,
    assignments: list[Assignment],
    images: CalibrationImages,
    reference: Simulation,
    fitted: Simulation,
    on_stage: Callable[[str], None],
) -> dict[str, dict[str, float]]:
    fitted.assignment = assignments[0]
    centres = {index: face_centres(config, reference, images.batch(index)) for index in images.fitting}
    rng = np.random.default_rng(0)
    sample = [crop(images, centres, rng) for _ in range(_SENSITIVITY_CROPS)]
    alternatives: dict[str, Assignment] = {"fp16": {}, **({FP8: assignments[1]} if len(assignments) > 1 else {})}
    return sensitivities(
        config, fitted, reference, sample, alternatives,
        lambda done, total: on_stage(f"Measuring sensitivities {done}/{total}"),
    )  # fmt: skip


def _not_met(max_loss: float, choice: Choice) -> str:
    loss = choice.agreement.loss
    # Rounded up: the loss that is advised can be met.
    allowed = math.ceil(loss * 1e4) / 1e4
    return (
        f"max_loss {max_loss} cannot be met: the smallest loss that was measured is {loss:.4f}, {loss - max_loss:.4f} "
        f"too much, with {len(choice.kept)} convolutions in higher precision. Allow {allowed:.4f}, or build fp16"
    )


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
        "images": [images.digests[i] for i in images.fitting],
        "method": techniques.method,
        "equalise": techniques.equalise,
        "correct_biases": techniques.correct_biases,
        "round_weights": techniques.round_weights,
        "fitting": _FITTING,
    }
