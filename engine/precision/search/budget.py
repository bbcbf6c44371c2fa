"""The accuracy budget: keep as few convolutions as possible in higher precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from engine.config.formats import FP16, NumberFormat
from engine.metrics.agreement import Agreement
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import Assignment

# A convolution in another format than its neighbours needs conversions. Their cost, as a share of the network's MACs.
_CONVERSION_COST = 0.002
# In a mixed network FP8 is as fast as INT8. It is used where its gain is above this share of FP16's.
_LEAST_GAIN = 0.75


@dataclass(frozen=True)
class KeptLayer:
    """A convolution in another number format than the base.

    Attributes:
        name: of its node.
        kind: FP16 or FP8.
        sensitivity: fall of the heads' squared error if this convolution alone is kept, as a share of the whole.
        macs_share: its share of the network's MACs.
    """

    name: str
    kind: NumberFormat
    sensitivity: float
    macs_share: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "kind": self.kind.name}

    @property
    def cost(self) -> float:
        """Share of the MACs that are not in 8 bits."""
        return 0.0 if self.kind.quantised else self.macs_share


@dataclass(frozen=True)
class Choice:
    """The result of a search.

    Attributes:
        assignment: of the quantised convolutions.
        kept: convolutions in another format than the base, in the order of the ranking.
        agreement: with the float32 network, on held-out images.
        met: whether the loss is within the budget; True without a budget.
    """

    assignment: Assignment
    kept: tuple[KeptLayer, ...]
    agreement: Agreement
    met: bool


def ranking(graph: Graph, base: Assignment, gains: Mapping[NumberFormat, Mapping[str, float]]) -> list[KeptLayer]:
    """Rank the quantised convolutions by gain per MAC.

    A convolution that is ranked with FP8 is listed again at the end with FP16, for budgets that FP8 cannot meet.

    Args:
        graph: for the MACs.
        base: the assignment with nothing kept.
        gains: for FP16, and for other formats if measured, the fall of the squared error for each convolution, as a
            share of the whole.
    """
    macs = sum(c.macs for c in graph.convolutions.values())

    def kept(name: str) -> KeptLayer:
        least = _LEAST_GAIN * max(gains[FP16][name], 0.0)
        kind = next((k for k in gains if k.quantised and gains[k].get(name, 0.0) > least), FP16)
        return KeptLayer(name, kind, gains[kind][name], graph.convolutions[name].macs / macs)

    ranked = sorted(map(kept, base), key=lambda k: (-k.sensitivity / (k.cost + _CONVERSION_COST), k.name))
    return ranked + [replace(k, kind=FP16, sensitivity=gains[FP16][k.name]) for k in ranked if k.kind.quantised]


def within_share(ranked: Sequence[KeptLayer], max_share: float) -> list[KeptLayer]:
    """Return the layers that have a gain and together at most a share of the MACs.

    A layer that does not fit is skipped; later ones may still fit.
    """
    chosen: list[KeptLayer] = []
    room = max_share
    for kept in ranked:
        if kept.cost <= room and kept.sensitivity > 0:
            room -= kept.cost
            chosen.append(kept)
    return chosen


def keep(
    base: Assignment,
    kept: Sequence[KeptLayer],
    measure: Callable[[Assignment], Agreement],
    max_loss: float | None = None,
) -> Choice:
    """Keep some convolutions in another format and measure the loss.

    Args:
        base: the assignment with nothing kept.
        kept: in the order of the ranking. If a convolution is listed twice, the later entry counts.
        measure: agreement of an assignment with the reference, on held-out images.
        max_loss: the budget; None is no budget.
    """
    last = tuple({k.name: k for k in kept}.values())
    assignment = without(base, last)
    agreement = measure(assignment)
    return Choice(assignment, last, agreement, max_loss is None or agreement.loss <= max_loss)


def search(
    base: Assignment,
    ranked: Sequence[KeptLayer],
    measure: Callable[[Assignment], Agreement],
    *,
    max_loss: float,
    on_measured: Callable[[int, float], None] = lambda count, loss: None,
) -> Choice:
    """Find the shortest prefix of the ranking that meets the budget, by bisection.

    Args:
        base: see keep.
        ranked: from ranking.
        measure: see keep.
        max_loss: the budget.
        on_measured: called after each measurement with the number of kept convolutions and the loss.

    Returns:
        The choice. If the budget cannot be met, the one with the smallest loss, with `met` false.
    """
    tried: dict[int, Choice] = {}

    def attempt(count: int) -> Choice:
        if count not in tried:
            tried[count] = keep(base, ranked[:count], measure, max_loss)
            on_measured(count, tried[count].agreement.loss)
        return tried[count]

    if attempt(0).met or not attempt(len(ranked)).met:
        return min(tried.values(), key=lambda choice: (not choice.met, choice.agreement.loss if not choice.met else 0))
    low, high = 0, len(ranked)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if attempt(middle).met else (middle, high)
    return attempt(high)


def without(base: Assignment, kept: Sequence[KeptLayer]) -> Assignment:
    """Return an assignment in which some convolutions have the formats that they are kept in."""
    assigned = {**base, **{k.name: k.kind for k in kept}}
    return {name: kind for name, kind in assigned.items() if kind.quantised}
