"""What a build prints of a quantised engine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from engine.cli.arguments import add_network_options, network_options
from engine.cli.build import _calibration, _evidence, _meshes
from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.mesh.dense.output import MeshOutput
from engine.mesh.dense.source import MeshOptions
from engine.metrics.agreement import agreement
from tests.support.faces import detections

FACES = [[10.0, 10.0, 50.0, 50.0], [100.0, 10.0, 140.0, 50.0]]


def evidence(
    found: list[list[float]], *, loss: float | None, kept: int = 0, max_loss: float | None = None
) -> list[Any]:
    """Rows about an engine that finds some of two faces and keeps some layers in fp16."""
    compared = agreement([detections(FACES, [0.9, 0.9])], [detections(found, [0.9] * len(found))])
    layers = [
        {"name": f"conv{i}", "kind": "fp16", "sensitivity": 0.01 * (i + 1), "macs_share": 0.02} for i in range(kept)
    ]
    return _evidence(
        {
            "kept_higher": layers,
            "convolutions": {"convolutions": 20, "quantised": 20 - kept, "macs_share": 1 - 0.02 * kept},
            "agreement": compared.to_dict(),
            "loss": loss,
            "max_loss": max_loss,
            "measured_on": "ONNX Runtime",
            "elsewhere": {"OpenVINO": agreement([detections(FACES, [0.9, 0.9])], [detections([], [])]).to_dict()},
        }
    )


def test_accuracy_comes_first_and_kept_layers_are_summarised() -> None:
    rows = evidence(FACES, loss=0.0, kept=5, max_loss=0.01)
    assert [name for name, _ in rows] == [
        "with ONNX Runtime", "with OpenVINO", "loss", "in 8 bits", "kept in fp16",
    ]  # fmt: skip
    assert rows[0][1] == (
        "0 of 2 faces lost, 0 new, box IoU 1.0000 (5 %: 1.0000, least 1.0000), "
        "landmarks 0.00% (95 %: 0.00%) of the size"
    )
    assert rows[1][1] == "none of 2 faces is found again"
    assert rows[2][1] == "0.0000 of boxes or landmarks, whichever is larger, budget 0.01"
    assert rows[3][1] == "15 of 20 convolutions, 90.0% of the multiplications"
    assert rows[4][1] == (
        "5, 10.00% of the multiplications: conv4 (5.0% of the error), conv3 (4.0% of the error), conv2 (3.0% of the "
        "error), and 2 more in the sidecar"
    )


@pytest.mark.parametrize(("kept", "rest"), [(3, False), (4, True)])
def test_all_of_three_layers_are_named(kept: int, rest: bool) -> None:
    assert ("more in the sidecar" in evidence(FACES, loss=0.0, kept=kept)[-1][1]) == rest


def test_changes_of_plain_values_are_said() -> None:
    one, other = (Detections(FACES, [0.9, 0.9], values={"age": [[30], [age]]}) for age in (40, 42))
    counted = {"convolutions": 20, "quantised": 20, "macs_share": 1.0}
    record: dict[str, Any] = {"kept_higher": [], "convolutions": counted}
    record |= {"loss": 0.0, "max_loss": None, "measured_on": "ONNX Runtime", "elsewhere": {}}
    rows = dict(_evidence({**record, "agreement": agreement([one], [other]).to_dict()}))
    assert rows["with ONNX Runtime"].endswith("least 1.0000), age 1 (95 %: 1.9)")


def test_training_is_compared_with_what_it_began_with() -> None:
    compared = [
        agreement([detections(FACES, [0.9, 0.9])], [detections(found, [0.9] * len(found))]).to_dict()
        for found in (FACES, FACES[:1])
    ]
    counted = {"convolutions": 20, "quantised": 20, "macs_share": 1.0}
    record = {"kept_higher": [], "convolutions": counted, "loss": 0.0, "max_loss": None, "measured_on": "ONNX Runtime"}
    record["elsewhere"] = {}
    rows = dict(_evidence({**record, "agreement": compared[0], "untrained": compared[1]}))
    assert "0 of 2 faces lost" in rows["with ONNX Runtime"]
    assert "1 of 2 faces lost" in rows["before training"]


def test_a_missed_budget_lost_faces_and_no_faces_are_said() -> None:
    rows = dict(evidence(FACES[:1], loss=0.5, max_loss=0.01))
    assert rows["with ONNX Runtime"].startswith("1 of 2 faces lost")
    assert rows["loss"].endswith("budget 0.01 (NOT met)")
    assert dict(evidence([], loss=1.0))["with ONNX Runtime"] == "none of 2 faces is found again"
    assert "not measured" in dict(evidence(FACES, loss=None))["agreement"]
    assert _evidence({"mode": "fp16", "kept_higher": []}) == []


@pytest.mark.parametrize(
    ("fitted_to", "held_out", "said"),
    [
        (3, True, "on the 3 that were held out"),
        (6, False, "expect more loss"),
        (0, False, "those that it was trained on"),
    ],
)
def test_what_the_figures_rest_on_is_said(fitted_to: int, held_out: bool, said: str) -> None:
    given = {"images": 6, "faces": 250, "fitted_to": fitted_to, "measured_on": 3, "held_out": held_out}
    ((name, text),) = _calibration(given)
    assert name == "calibration"
    assert text.startswith("6 images, 250 faces; ")
    assert said in text
    assert _calibration({}) == _calibration({"method": "importance"}) == []


def options_of(*words: str) -> dict[str, Any]:
    """Options of a build, as the parser takes them."""
    parser = argparse.ArgumentParser()
    add_network_options(parser, ("fp16",), "fp16")
    return network_options(parser.parse_args(words))


def test_meshes_need_a_decoder() -> None:
    assert options_of()["meshes"] is None
    assert options_of("--mesh-decoder", "a.npz")["meshes"] == MeshOptions(Path("a.npz"))
    assert options_of("--mesh-decoder", "a.npz", "--max-meshes", "3")["meshes"] == MeshOptions(Path("a.npz"), 3)
    coloured = options_of("--mesh-decoder", "a.npz", "--mesh-colours")["meshes"]
    assert coloured == MeshOptions(Path("a.npz"), colours=True)
    for words in (["--max-meshes", "3"], ["--max-meshes", "0"], ["--mesh-colours"]):
        with pytest.raises(InvalidArgumentError, match=f"{words[0]} is given, but no --mesh-decoder"):
            options_of(*words)


def test_meshes_are_printed() -> None:
    assert _meshes(None) == []
    rows = [("meshes", "3 of 468 vertices a picture, decoder a.npz")]
    assert _meshes(MeshOutput("a.npz", "0" * 64, 468, 3)) == rows
    coloured = [("meshes", "3 of 468 coloured vertices a picture, decoder a.npz")]
    assert _meshes(MeshOutput("a.npz", "0" * 64, 468, 3, colours=True)) == coloured
