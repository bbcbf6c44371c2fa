"""Quantisation of a float32 network within an accuracy budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.config.formats import FP16, NumberFormat
from engine.errors import BuildError, CalibrationError
from engine.files import sha256_of
from engine.precision.calibrate.cache import load_fit, save_fit
from engine.precision.calibrate.crops import crop, face_centres
from engine.precision.calibrate.fit import fit
from engine.precision.calibrate.images import CalibrationImages, calibration_files, read_images
from engine.precision.calibrate.views import FEW_FACES, with_views
from engine.precision.options import Conversion, TypedNetwork
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import Assignment, quantisable
from engine.precision.qdq.rewrite import prepare
from engine.precision.qdq.simulate import Simulation
from engine.precision.qdq.writer import coverage, write_quantised
from engine.precision.search.budget import Choice, KeptLayer, keep, ranking, search, within_share, without
from engine.precision.search.measure import Measure, detector_of
from engine.precision.search.sensitivity import sensitivities
from engine.precision.trained.build import from_trained
from engine.precision.trained.distil import distil, output_ranges
from engine.precision.trained.pictures import TrainingPictures
from engine.precision.trained.stored import Calibrated, is_trained
from engine.runtime.letterbox import Letterbox
from engine.types import DEFAULT_SCORE_THRESHOLD

# Default budget. INT8 keeps the most sensitive layers in FP16, up to 9.5 % of MACs.
DEFAULT_LOSS = 0.01
DEFAULT_SHARE = 0.095
_SENSITIVITY_CROPS = 24
_RANGE_IMAGES = 16
# Cache version; bump when fitting changes.
_FITTING = 4


def quantise(conversion: Conversion) -> TypedNetwork:
    """Quantise a network to one of config.formats.QUANTISED_PRECISIONS: Q/DQ in a float16 graph.

    Raises:
        CalibrationError: the images, the network's values or the cache cannot be used.
        BuildError: the budget cannot be met, or an operator cannot be quantised.
    """
    options = conversion.options
    options.check(conversion.precision)
    if options.cache is not None and is_trained(options.cache):
        return from_trained(conversion)
    if options.calib_dir is None:
        raise CalibrationError(
            f"the calibration cache {options.cache} has no trained network, so its photos are needed: give --calib-dir"
        )
    quantisation = _Quantisation(conversion)
    choice = quantisation.choose()
    if conversion.options.max_loss is not None and not choice.met:
        raise BuildError(_not_met(conversion.options.max_loss, choice))
    return quantisation.write(choice)


def calibrate(conversion: Conversion, pictures: Sequence[Path]) -> Calibrated:
    """Calibrate a network, and choose the convolutions that stay in FP16 as a build without a budget does.

    Args:
        conversion: its calib_dir is not read.
        pictures: to calibrate with, of which options.calib_images are used.

    Raises:
        CalibrationError: the pictures or the network's values cannot be used.
    """
    quantisation = _Quantisation(conversion, pictures)
    kept = quantisation.kept_within_share()
    graph, network, images = quantisation.graph, quantisation.network, quantisation.images
    network.assignment = without(quantisation.assignments[0], kept)
    ranges = output_ranges(graph, quantisation.reference, images.batches(images.fitting[:_RANGE_IMAGES]))
    return Calibrated(graph, network, tuple(layer.to_dict() for layer in kept), ranges)


class _Quantisation:
    """A network that is being quantised.

    Attributes:
        images: for calibration.
        found: what the float32 network finds in each image.
        faces: how many faces that are.
        graph: of the rewritten network.
        assignments: for each number format, all convolutions that can use it; the first one is the base.
        reference: the network in floating point.
        network: the network as fitted, quantised.
        measure: of the loss.
    """

    def __init__(self, conversion: Conversion, pictures: Sequence[Path] | None = None) -> None:
        """Read the images, find their faces with the float32 network, and fit the network or load the fit.

        The images are `pictures`, or those of the calibration folder.
        """
        self._conversion, self._say = conversion, conversion.on_stage
        self.images = self._find_images(pictures)
        self._say("Finding the faces of the calibration images")
        self.found = detector_of(conversion, conversion.network).detect(self.images.pictures)
        boxes = [faces.boxes[faces.scores >= DEFAULT_SCORE_THRESHOLD] for faces in self.found]
        self.faces = sum(map(len, boxes))
        few = self.faces < FEW_FACES or not any(len(boxes[i]) for i in self.images.held_out)
        self._check_faces(few)
        if few:
            self.images = with_views(self.images, boxes)
        # With few faces their importance says more about these faces than about others.
        usual = "max" if few else "importance"
        given = conversion.options.techniques
        self._techniques = replace(given, method=usual) if given.method == "auto" else given
        self.graph = Graph(prepare(conversion.network), conversion.size)
        self.assignments: list[Assignment] = [
            dict.fromkeys(quantisable(self.graph, kind), kind) for kind in conversion.formats
        ]
        self.reference, self.network = self._fitted()
        self.measure = Measure(conversion, self.images, self.graph, self.network, self.found)
        self._training: dict[str, Any] = {}  # for the evidence

    def choose(self) -> Choice:
        """Choose the convolutions to keep in higher precision, and measure the loss."""
        base, max_loss = self.assignments[0], self._max_loss
        if max_loss is not None:
            # What training gains need not be bought with higher precision.
            self._train(base)
        ranked = self._ranked()
        if max_loss is not None:
            return search(
                base, ranked, self.measure,
                max_loss=max_loss,
                on_measured=lambda count, loss: self._say(
                    f"Kept {count} convolutions in higher precision: loss {loss:.4f}"
                ),
            )  # fmt: skip
        kept = within_share(ranked, DEFAULT_SHARE)
        self._train(without(base, kept))
        self._say("Measuring the loss")
        return keep(base, kept, self.measure)

    def kept_within_share(self) -> list[KeptLayer]:
        """Return the convolutions that stay in FP16 where no budget is given."""
        return within_share(self._ranked(), DEFAULT_SHARE)

    def write(self, choice: Choice) -> TypedNetwork:
        """Write the network as chosen, and record the evidence of its accuracy."""
        self.network.assignment = choice.assignment
        written = write_quantised(self.graph, self.network)
        images, agreement = self.images, choice.agreement
        evidence = {
            "kept_higher": [kept.to_dict() for kept in choice.kept],
            "convolutions": asdict(coverage(self.graph, written)),
            "max_loss": self._max_loss,
            "loss": agreement.loss if agreement.faces else None,
            "agreement": agreement.to_dict(),
            "measured_on": self.measure.runtime,
            "elsewhere": {name: found.to_dict() for name, found in self.measure.elsewhere(written).items()},
            **self._training,
        }
        calibration = {
            "images": len(images.paths),
            "fitted_to": len(images.fitting),
            "measured_on": len(images.held_out),
            "held_out": images.hold_out is not None,
            "faces": self.faces,
            "skipped": [path.name for path in images.skipped],
            "images_sha256": sha256_of("".join(images.digests).encode()),
            "train_steps": self._conversion.options.train_steps,
            **asdict(self._techniques),
        }
        return TypedNetwork(written, written, evidence, calibration)

    def _train(self, assignment: Assignment) -> None:
        """Train for an assignment, if training was asked for; keep the result if the loss is no larger than before."""
        options, network = self._conversion.options, self.network
        if not options.train_steps:
            return
        self._say("Measuring the loss before training")
        before = self.measure(assignment)
        calibrated = network.weights, network.exact, network.biases, network.scales
        self._say("Reading the pictures to train on")
        pictures = TrainingPictures(self._conversion.config, self.reference, self.images)
        distil(self.graph, network, pictures, options.train_steps, self._say)
        after = self.measure(assignment)
        kept = after.loss <= before.loss
        if self.images.hold_out is None:
            self._say("Note: few faces: training is judged on the images that it was trained on")
        if not kept:
            self._say(
                "Note: training did not lower the loss on the held-out images "
                f"({before.loss:.4f} before, {after.loss:.4f} after): the calibrated network is kept. More photos, or "
                "more --train-steps, may help"
            )
            network.weights, network.exact, network.biases, network.scales = calibrated
            network.fitted = self.assignments[0]
        self._training = {"untrained": before.to_dict(), "training_kept": kept}

    def _ranked(self) -> list[KeptLayer]:
        return ranking(self.graph, self.assignments[0], self._gains()) if self._decides else []

    @property
    def _decides(self) -> bool:
        """Whether the loss decides what is kept in higher precision."""
        return self.measure.faces > 0 and self._conversion.options.max_loss != float("inf")

    @property
    def _max_loss(self) -> float | None:
        """The budget; None without one."""
        if not self._decides:
            return None
        return self._conversion.options.max_loss or (None if self._conversion.precision == "int8" else DEFAULT_LOSS)

    def _find_images(self, pictures: Sequence[Path] | None) -> CalibrationImages:
        options = self._conversion.options
        # A budget is measured on as many images as are fitted to; without one more can be (with few faces all are).
        hold_out: int | None = 4 if options.max_loss == float("inf") else 2
        if pictures is None:
            assert options.calib_dir is not None
            pictures = calibration_files(options.calib_dir)
        else:
            hold_out = None  # what is trained is judged on labels
        images = read_images(
            pictures,
            str(options.calib_dir or "the set of labels"),
            options.calib_images,
            Letterbox(self._conversion.size, self._conversion.config, enlarge=False),
            lambda done, total: self._say(f"Reading calibration images {done}/{total}"),
            hold_out=hold_out,
        )
        for path in images.skipped:
            self._say(f"Note: {path} is not a readable picture and is skipped")
        return images

    def _fitted(self) -> tuple[Simulation, Simulation]:
        """Return the network in floating point and quantised, from the cache if there is one."""
        options, key = self._conversion.options, self._cache_key()
        if options.cache is not None and Path(options.cache).exists():
            self._say(f"Reusing the calibration in {options.cache}")
            return load_fit(options.cache, key, self.graph, self.assignments)
        reference, network = fit(
            self._conversion.config, self.graph, self.assignments, self.images, self._techniques, self._say
        )
        if options.cache is not None:
            save_fit(options.cache, key, self.graph, network)
        return reference, network

    def _cache_key(self) -> dict[str, Any]:
        """Return all inputs of a fit."""
        conversion = self._conversion
        return {
            "weights": conversion.weights_sha256,
            "network": sha256_of(self.graph.model.SerializeToString(deterministic=True)),
            "config": conversion.config.to_dict(),
            "preprocessing": {"letterbox": list(conversion.size), "enlarge": False},
            "precision": conversion.precision,
            "kinds": sorted({kind.name for assignment in self.assignments for kind in assignment.values()}),
            "images": [self.images.digests[i] for i in self.images.fitting if i < len(self.images.paths)],
            "views": len(self.images.pictures) - len(self.images.paths),
            **asdict(self._techniques),
            "fitting": _FITTING,
        }

    def _check_faces(self, few: bool) -> None:
        """Raise CalibrationError if there is no face, unless no loss is to be measured."""
        count = len(self.images.paths)
        if self.faces:
            note = " Few faces: all images are fitted to and measured on; give about 100 photos."
            self._say(f"{self.faces} faces in {count} images.{note if few else ''}")
        elif self._conversion.options.max_loss == float("inf"):
            self._say("Note: no face in the calibration images: the loss is unknown, and faces may be lost")
        else:
            raise CalibrationError(
                f"the float32 network finds no face in the {count} calibration images, so an engine fitted to them may "
                "find none: give photos with faces, like production's. A build takes them with a lower "
                "--score-threshold, or with --max-loss off"
            )

    def _gains(self) -> dict[NumberFormat, dict[str, float]]:
        """Return the error that each convolution takes away in FP16 and in the other number formats."""
        config, images = self._conversion.config, self.images
        self.network.assignment = self.assignments[0]
        centres = {index: face_centres(config, self.reference, images.batch(index)) for index in images.fitting}
        rng = np.random.default_rng(0)
        sample = [crop(images, centres, rng) for _ in range(_SENSITIVITY_CROPS)]
        others = zip(self._conversion.formats[1:], self.assignments[1:], strict=True)
        return sensitivities(
            config, self.network, self.reference, sample, {FP16: {}, **dict(others)},
            lambda done, total: self._say(f"Measuring sensitivities {done}/{total}"),
        )  # fmt: skip


def _not_met(max_loss: float, choice: Choice) -> str:
    loss = choice.agreement.loss
    # Rounded up: the loss that is advised can be met.
    allowed = math.ceil(loss * 1e4) / 1e4
    return (
        f"max_loss {max_loss} cannot be met: the smallest loss that was measured is {loss:.4f}, {loss - max_loss:.4f} "
        f"too much, with {len(choice.kept)} convolutions in higher precision. Allow {allowed:.4f}, or build fp16"
    )
