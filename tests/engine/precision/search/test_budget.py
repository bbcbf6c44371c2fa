"""The search under a budget, with a fake measure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.config.formats import FP8, FP16, INT8, NumberFormat
from engine.metrics.agreement import Agreement, agreement
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import Assignment
from engine.precision.search.budget import KeptLayer, keep, ranking, search, within_share
from tests.support.faces import detections, face
from tests.support.graphs import SIZE, Builder

NAMES = [f"conv{i}" for i in range(10)]
BASE = dict.fromkeys(NAMES, INT8)


def _kept(*shares: float, kind: NumberFormat = FP16) -> list[KeptLayer]:
    return [KeptLayer(name, kind, 0.1, share) for name, share in zip(NAMES, shares, strict=False)]


class Measure:
    """A fake measure: the loss depends on the number of convolutions that are not in INT8."""

    def __init__(self, *losses: float) -> None:
        """Take the losses for 0, 1, 2, ... convolutions."""
        self._losses = losses
        self.asked: list[int] = []

    def __call__(self, assignment: Assignment) -> Agreement:
        count = sum(assignment.get(name) != INT8 for name in NAMES)
        self.asked.append(count)
        same = [detections([face(0, 0, 10)], [0.9])]
        return replace(agreement(same, same), loss=self._losses[count])


@pytest.mark.parametrize(("budget", "count"), [(0.2, 0), (0.095, 1), (0.05, 2), (0.03, 3), (0.0101, 4), (0.006, 5)])
def test_the_smallest_prefix_is_found(budget: float, count: int) -> None:
    shown: list[tuple[int, float]] = []
    measure = Measure(0.1, 0.09, 0.05 - 1e-9, 0.02, 0.01, 0.005)
    choice = search(BASE, _kept(*[0.1] * 5), measure, max_loss=budget, on_measured=lambda n, x: shown.append((n, x)))
    assert choice.met
    assert [k.name for k in choice.kept] == NAMES[:count]
    assert set(choice.assignment) == set(NAMES[count:])
    assert choice.agreement.loss <= budget
    assert len(set(measure.asked)) == len(measure.asked) == len(shown) <= 5  # nothing is measured twice


def test_without_a_budget_all_given_layers_are_kept() -> None:
    measure = Measure(0.9, 0.8, 0.7)
    choice = keep(BASE, _kept(0.1, 0.1), measure)
    assert ([k.name for k in choice.kept], choice.met, measure.asked) == (NAMES[:2], True, [2])
    assert set(choice.assignment) == set(NAMES[2:])
    assert choice.agreement.loss == 0.7
    assert keep(BASE, [], measure).assignment == BASE


@pytest.mark.parametrize(("losses", "count"), [((0.3, 0.2, 0.1), 2), ((0.1, 0.2, 0.3), 0), ((0.1, 0.1, 0.1), 0)])
def test_a_budget_that_cannot_be_met(losses: tuple[float, ...], count: int) -> None:
    choice = search(BASE, _kept(0.1, 0.1), Measure(*losses), max_loss=0.01)
    assert not choice.met
    assert len(choice.kept) == count
    assert choice.agreement.loss == pytest.approx(min(losses))


def test_layers_that_do_not_fit_the_share_are_skipped() -> None:
    """0.06 fits into 0.1, 0.5 and 0.05 do not, 0.03 does."""
    assert [k.name for k in within_share(_kept(0.06, 0.5, 0.05, 0.03), 0.1)] == ["conv0", "conv3"]


def test_layers_without_gain_are_skipped_within_a_share() -> None:
    ranked = [
        KeptLayer("conv0", FP16, 0.1, 0.01),
        KeptLayer("conv1", FP16, 0.0, 0.01),
        KeptLayer("conv2", FP16, -0.1, 0.01),
    ]
    assert within_share(ranked, 0.1) == ranked[:1]
    whatever = search(BASE, ranked, Measure(1, 1, 1, 0), max_loss=0.01)
    assert whatever.met
    assert len(whatever.kept) == 3


def test_fp8_costs_nothing_and_stays_assigned() -> None:
    ranked = _kept(0.9, 0.9, kind=FP8)
    assert within_share(ranked, 0.1) == ranked
    choice = search(BASE, ranked, Measure(1, 1, 0), max_loss=0.01)
    assert choice.met
    assert choice.assignment == {**BASE, "conv0": FP8, "conv1": FP8}


def test_where_fp8_is_not_enough_float16_follows() -> None:
    """With both layers in FP8 the loss is too large; with the second in float16 it is not. It is recorded once."""
    ranked = [*_kept(0.1, 0.1, kind=FP8), KeptLayer("conv1", FP16, 0.2, 0.1)]

    def measure(assignment: Assignment) -> Agreement:
        same = [detections([face(0, 0, 10)], [0.9])]
        return replace(agreement(same, same), loss=0.0 if "conv1" not in assignment else 0.02)

    choice = search(BASE, ranked, measure, max_loss=0.01)
    assert choice.met
    assert [(k.name, k.kind) for k in choice.kept] == [("conv0", FP8), ("conv1", FP16)]
    assert choice.assignment == {**{n: INT8 for n in NAMES if n != "conv1"}, "conv0": FP8}


@pytest.fixture
def graph(rng: np.random.Generator) -> Graph:
    """Three convolutions with 1/19, 9/19 and 9/19 of the MACs."""
    b = Builder(rng)
    x = b.conv("a", "images", 3, kernel=1)
    return Graph(b.model(b.conv("c", b.conv("b", x, 3), 3)), SIZE)


def test_ranking_is_by_gain_for_the_cost(graph: Graph) -> None:
    base = dict.fromkeys("abc", INT8)
    ranked = ranking(graph, base, {FP16: {"a": 0.2, "b": 0.3, "c": 0.6}})
    assert [k.name for k in ranked] == ["a", "c", "b"]
    assert [k.sensitivity for k in ranked] == [0.2, 0.6, 0.3]
    assert [k.macs_share for k in ranked] == pytest.approx([1 / 19, 9 / 19, 9 / 19])
    assert {k.kind for k in ranked} == {FP16}
    tied = ranking(graph, dict.fromkeys("cb", INT8), {FP16: {"b": 0.3, "c": 0.3}})
    assert [k.name for k in tied] == ["b", "c"]
    worse = ranking(graph, base, {FP16: {"a": -0.2, "b": 0.3, "c": 0.6}})
    assert [k.name for k in worse] == ["c", "b", "a"]


def test_fp8_where_it_takes_most_of_the_error_away(graph: Graph) -> None:
    gains = {FP16: {"a": 0.4, "b": 0.4, "c": -0.1}, FP8: {"a": 0.35, "c": -0.2}}
    ranked = ranking(graph, dict.fromkeys("abc", INT8), gains)
    assert [(k.name, k.kind, k.sensitivity) for k in ranked] == [
        ("a", FP8, 0.35), ("b", FP16, 0.4), ("c", FP16, -0.1), ("a", FP16, 0.4),
    ]  # fmt: skip
    gains[FP8]["a"] = 0.2
    assert {k.kind for k in ranking(graph, dict.fromkeys("abc", INT8), gains)} == {FP16}
