"""A build from a network that was trained for its precision: nothing is fitted, photos only measure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from engine.errors import InvalidArgumentError
from engine.files import sha256_of
from engine.precision.calibrate.images import find_images
from engine.precision.options import Conversion, QuantisationOptions, TypedNetwork
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.rewrite import prepare, with_plain_names
from engine.precision.qdq.simulate import Simulation
from engine.precision.qdq.writer import coverage, write_quantised
from engine.precision.search.measure import Measure, detector_of
from engine.precision.trained.stored import Key, load_trained
from engine.runtime.letterbox import Letterbox


def from_trained(conversion: Conversion) -> TypedNetwork:
    """Write the trained network that options.cache has.

    The photos of options.calib_dir, if given, tell how its faces agree with those of the float32 weights.

    Raises:
        InvalidArgumentError: an option of calibration is given.
        CalibrationError: the file does not belong to the weights, config and precision, or the photos are unusable.
    """
    options = conversion.options
    assert options.cache is not None
    if options != QuantisationOptions(options.calib_dir, options.calib_images, options.cache):
        raise InvalidArgumentError(
            f"{options.cache} has a trained network, which is not calibrated again: leave out the options of "
            "calibration but --calib-dir, or --calib-cache"
        )
    conversion.on_stage(f"Taking the trained network of {options.cache}")
    graph = Graph(prepare(with_plain_names(conversion.network)), conversion.size)
    key = Key(conversion.weights_sha256, conversion.config, conversion.precision)
    network, kept = load_trained(options.cache, key, graph)
    written = write_quantised(graph, network)
    evidence = {"kept_higher": kept, "convolutions": asdict(coverage(graph, written)), "trained_with_labels": True}
    if options.calib_dir is None:
        return TypedNetwork(written, written, evidence, {"images": 0})
    agreement, calibration = _measured(conversion, graph, network)
    return TypedNetwork(written, written, evidence | agreement, calibration)


def _measured(conversion: Conversion, graph: Graph, network: Simulation) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return how the faces agree with the float32 network's, and what that rests on."""
    options = conversion.options
    assert options.calib_dir is not None
    conversion.on_stage("Measuring the loss")
    letterbox = Letterbox(conversion.size, conversion.config, enlarge=False)
    images = find_images(options.calib_dir, options.calib_images, letterbox, hold_out=None)
    found = detector_of(conversion, conversion.network).detect(images.pictures)
    measure = Measure(conversion, images, graph, network, found)
    agreement = measure(network.assignment)
    evidence = {
        "max_loss": None,
        "loss": agreement.loss if agreement.faces else None,
        "agreement": agreement.to_dict(),
        "measured_on": measure.runtime,
        "elsewhere": {n: a.to_dict() for n, a in measure.elsewhere(write_quantised(graph, network)).items()},
    }
    calibration = {
        "images": len(images.paths),
        "fitted_to": 0,
        "measured_on": len(images.paths),
        "held_out": False,
        "faces": measure.faces,
        "skipped": [path.name for path in images.skipped],
        "images_sha256": sha256_of("".join(images.digests).encode()),
    }
    return evidence, calibration
