"""Settings that shapes allow, and what trials of them say."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from engine.config.presets import PRESETS, preset
from engine.plausibility.candidates import candidates, changes
from engine.plausibility.measure import Plausibility
from engine.plausibility.report import report
from engine.plausibility.trials import Trial, best

MOBILENET, RELU = preset("mobilenet0.25"), preset("mobilenet0.25-relu")
OWN = replace(MOBILENET, name="own", mean=(1.0, 2.0, 3.0))


def tried(*totals: float, faces: int = 5) -> list[Trial]:
    """Return trials of settings that are further and further from the first: slope, anchors, colours."""
    other = replace(OWN, negative_slope=0.0)
    settings = [OWN, other, replace(other, levels=RELU.levels), MOBILENET]
    return [
        Trial(config, faces, Plausibility(round(total), total)) for config, total in zip(settings, totals, strict=False)
    ]


def test_candidates_are_the_chosen_one_and_each_combination_once() -> None:
    found = candidates(OWN, slopes_known=False)
    assert found[0] == OWN
    # Slopes; pixels of the config and of two kinds of presets in two orders; anchors; variances.
    assert len(found) == len(set(found)) == 2 * 6 * 3 * 2
    assert {config.name for config in found} == {
        "own",
        "mobilenet0.25",
        "mobilenet0.25-relu",
        "insightface-mobilenet0.25",
    }
    assert replace(OWN, color_order="rgb", mean=(3.0, 2.0, 1.0), pad_value=(123, 117, 104)) in found
    known = candidates(OWN, slopes_known=True)
    assert len(known) == 6 * 3 * 2
    assert {config.slopes for config in known} == {OWN.slopes}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_candidates_of_those_with_equal_shapes(name: str) -> None:
    found = candidates(PRESETS[name], slopes_known=False)
    assert found[0] == PRESETS[name]
    assert len(found) <= 48
    assert all(config.backbone == PRESETS[name].backbone for config in found)
    assert {config.color_order for config in found} == {"bgr", "rgb"}


def test_pyramids_differ_where_presets_do() -> None:
    found = candidates(preset("context"), slopes_known=True)
    assert {config.pyramid for config in found} == {"top-down", "neighbours"}
    assert "facedetector-resnet50" in {config.name for config in found}


def test_changes_are_named() -> None:
    assert changes(OWN, OWN) == []
    assert changes(OWN, replace(RELU, pad_value=(0, 0, 0))) == ["negative_slope", "mean", "levels"]


def test_the_nearest_of_equally_good_settings_is_best() -> None:
    assert best(tried(1.0, 3.95, 4.0, 3.0)).config == replace(OWN, negative_slope=0.0)
    assert best(tried(1.0, 3.0, 4.0, 3.99)).config.name == "mobilenet0.25"  # it differs in the mean only
    assert best(tried(1.0, 3.0, 4.0, 3.0)).config.levels == RELU.levels


@pytest.mark.parametrize(
    ("totals", "faces", "expected"),
    [
        ((2.0, 3.0), 5, 'Warning: the faces are more plausible .* with "negative_slope": 0.0$'),
        ((2.0, 1.0, 3.0), 5, 'Warning: .* "negative_slope": 0.0, the levels of config mobilenet0.25-relu$'),
        (
            (2.0, 1.0, 1.0, 3.0),
            5,
            "Warning: .* their sum is 3.00, that of the config 2.00. Use --config mobilenet0.25$",
        ),
        (
            (0.9, 1.3),
            5,
            "Note: no other setting is clearly better than those of config 'own'$",
        ),  # less than half a face
        ((8.0, 8.7), 5, "Note: no other setting"),  # less than a tenth
        ((0.0, 0.4), 5, "Warning: the weights find no plausible face"),
        ((25.0, 25.0), 501, "Warning: only 25 of 501 faces are plausible"),
        ((25.0, 25.0), 60, "Note: no other setting"),
    ],
)
def test_verdicts(totals: tuple[float, ...], faces: int, expected: str) -> None:
    assert re.match(expected, report(tried(*totals, faces=faces), "own.pth", "x.jpg")[1])


def test_the_table_has_the_best_five_and_the_chosen_one() -> None:
    settings = candidates(MOBILENET, slopes_known=True)
    trials = [Trial(config, 7, Plausibility(i, float(i))) for i, config in enumerate(settings)]
    table = report(trials, "a\nb.pth", "x\x1b.jpg")[0].split("\n")
    assert table[0] == r"Note: a\nb.pth with the settings that its shapes allow, on x\x1b.jpg:"
    assert table[1].split() == ["faces", "plausible", "sum", "settings"]
    sums = [float(row.split()[2]) for row in table[2:]]
    assert sums == [23.0, 22.0, 21.0, 20.0, 19.0, 0.0]
    assert table[-1].endswith("mobilenet0.25: BGR - 104 117 123; anchors 16 32 to 256 512; variances 0.1 0.2 (chosen)")
