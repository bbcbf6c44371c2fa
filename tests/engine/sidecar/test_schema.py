"""Values of the right type that no build writes are refused where the sidecar is read, each by its name."""

from __future__ import annotations

import math
from typing import Any

import pytest

from engine.config.model import MAX_ANCHORS
from engine.errors import InvalidArgumentError
from engine.sidecar.schema import read_sidecar
from tests.engine.sidecar.agreeing import Place, changed, places
from tests.engine.sidecar.test_content import VALUES

REFUSED: list[tuple[Place, Any, str]] = [
    (("project_version",), "", "project_version is '', expected a version"),
    (("project_version",), "1.0\x1b[2J", "project_version is .*, expected a version"),
    (("config", "name"), "", "config: name is '', expected 1 to 64 characters"),
    (("config", "name"), "x" * 65, "config: name is"),
    (("config", "fpn_channels"), 1 << 40, "config: fpn_channels is 1099511627776, expected 4, 8, ..., 4096"),
    (("config", "levels", 0, "anchor_sizes", 0), 1e308, "config: levels is .* anchor sizes above 0, 1e-06 to 1e"),
    (("config", "levels", 0, "anchor_sizes", 0), 1e-308, "config: levels is .* anchor sizes above 0, 1e-06 to 1e"),
    (("config", "levels", 0, "aspect_ratios", 0), 1e300, "config: levels is .* anchor aspect ratios above 0"),
    (("config", "levels", 0, "anchor_sizes"), [1] * 100_000, "config: levels is 100000, expected 1 to 8 anchors"),
    (("config", "levels"), VALUES["config"]["levels"] * 1000, "config: levels is .*, expected strides"),
    (("config", "input_size"), [1 << 40, 1 << 40], f"config: input size is .* anchors, expected at most {MAX_ANCHORS}"),
    (("config", "variances", 0), 1e39, "config: variances is"),
    (("config", "mean", 0), -1e39, "config: mean is"),
    (("config", "std", 2), 1e-39, "config: std is"),
    (("weights", "sha256"), "0" * 63, "weights.sha256 is .*, expected 64 hexadecimal digits"),
    (("weights", "sha256"), "٣" * 64, "weights.sha256 is .*, expected 64 hexadecimal digits"),
    (("weights", "known_as"), "x" * 65, "weights.known_as is"),
    (("precision", "mode"), "int4", "precision.mode is 'int4', expected one of: fp32, tf32"),
    (("runtime", "name"), "auto", "runtime.name is 'auto', expected tensorrt or tensorrt-rtx"),
    (("runtime", "version"), "1 2", "runtime.version is '1 2', expected a version"),
    (("targets",), [], "targets is .*, expected 1 to 16"),
    (("targets",), ["sm86"] * 17, "targets is .*, expected 1 to 16"),
    (("targets", 1), "sm86 --output x", r"targets\[1\] is 'sm86 --output x', expected smNN"),
    (("plugins", "versions"), {f"P{i}": "1" for i in range(17)}, "plugins.versions is .*, expected at most 16"),
    (("plugins", "versions"), {"a b": "1"}, "plugins.versions is 'a b', expected names"),
    (("plugins", "versions", "RetinaFaceNMS"), "", "plugins.versions.RetinaFaceNMS is '', expected a version"),
    (("plugins", "library_sha256"), "no digest", "plugins.library_sha256 is"),
    (("detector_sha256",), "1" * 65, "detector_sha256 is"),
    (("io", "input", "name"), "image", "io.input.name is 'image', expected 'images'"),
    (("io", "input", "dtype"), "object", "io.input.dtype is 'object', expected float32 or float16"),
    (("io", "input", "minimum", 0), 2, "io.input is .*, expected batches from 1"),
    (("io", "input", "optimum", 0), 5, "io.input is .*, expected batches from 1, which do not decrease"),
    (("io", "input", "maximum", 0), 1025, r"io.input.maximum is .*, expected \(1 to 1024, 3, height, width\)"),
    (("io", "input", "maximum", 0), 1 << 62, "io.input.maximum is"),
    (("io", "input", "optimum", 1), 4, "io.input.optimum is"),
    (("io", "input", "minimum", 2), 0, "io.input: input height is 0, expected a multiple of 32"),
    (("io", "input", "minimum", 3), -32, "io.input: input width is -32"),
    (("io", "input", "maximum", 2), 1 << 62, "io.input: input size is .* expected at most"),
    (("io", "input", "minimum", 2), 352, "io.input: input sizes are minimum .*must not decrease"),
    (("io", "outputs"), [], "io.outputs is .*, expected .*landmarks"),
    (("io", "outputs", 1, "shape", 1), 8, "io.outputs is"),
    (("io", "outputs", 1, "shape", 1), "M", "io.outputs is"),
    (("io", "outputs", 2, "dtype"), "object", "io.outputs is"),
    (("preprocessing", "resize"), "crop", "preprocessing.resize is 'crop'"),
    (("preprocessing", "mean", 0), 0.0, "preprocessing.mean is .*, expected .* as config.mean"),
    (("thresholds", "score"), 1.01, "score threshold is 1.01, expected 0 to 1"),
    (("thresholds", "top_k"), 1 << 40, "top_k is 1099511627776, expected 1 to 5000"),
    (("files", "engine", "name"), "../x.engine", "files.engine.name is '../x.engine', expected the name of a file"),
    (("files", "network", "sha256"), "", "files.network.sha256 is"),
    (("files", "network", "bytes"), -1, "files.network.bytes is -1"),
    (("files", "engine", "bytes"), 1 << 62, "files.engine.bytes is"),
]


@pytest.mark.parametrize(("place", "value", "said"), REFUSED)
def test_each_is_named(place: Place, value: Any, said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{said}") as refusal:
        read_sidecar(changed(VALUES, place, value))
    assert len(str(refusal.value)) < 1000


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [p for p in places(VALUES) if p[0] in ("config", "thresholds", "preprocessing")])
def test_no_number_that_is_not_finite_gets_through(place: Place, value: float) -> None:
    """Nor where JSON was not read by the parser that refuses them."""
    with pytest.raises(InvalidArgumentError):
        read_sidecar(changed(VALUES, place, value))


def test_targets_of_every_build_are_read() -> None:
    for targets in (["portable"], ["this GPU"], ["sm75", "sm121"]):
        assert list(read_sidecar(changed(VALUES, ("targets",), targets)).targets) == targets
