"""The accuracy budget: the fewest convolutions kept in higher precision with which the faces stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from engine.metrics.agreement import Agreement
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import FP8, Assignment

# A convolution between two formats costs a conversion, however small it is: as many multiplications as this share.
_FIXED_COST = 0.002
# In a mixed network FP8 is as fast as INT8; it must take away most of a layer's error to be worth its place.
_FP8_GAIN = 0.75


@dataclass(frozen=True)
class Kept:
    """A convolution that is not in the network's base type.

    Attributes:
        name: of its node.
        kind: "fp16" or "fp8".
        sensitivity: share of the heads' squared error that goes when it alone is kept.
        macs_share: of the network's multiplications.
    """

    name: str
    kind: str
    sensitivity: float
    macs_share: float


@dataclass(frozen=True)
class Choice:
    """The outcome of a search.

    Attributes:
        assignment: of the convolutions that are quantised.
        kept: the others, most worthwhile first.
        agreement: with the float32 network, measured on images that nothing was fitted to.
        met: whether the loss is within the budget; True where there is none.
    """

    assignment: Assignment
    kept: tuple[Kept, ...]
    agreement: Agreement
    met: bool


def ranking(graph: Graph, base: Assignment, gains: Mapping[str, Mapping[str, float]]) -> list[Kept]:
    """Order the quantised convolutions by error taken away per multiplication given up.

    Those for which FP8 is enough come once more in float16 at the end, for budgets that it is not enough for.

    Args:
        graph: for the multiplications.
        base: assignment to start from.
        gains: share of the squared error that goes when a convolution becomes "fp16" or, where measured, "fp8".
    """
    macs = sum(c.macs for c in graph.convolutions.values())

    def kept(name: str) -> Kept:
        gain, kind = gains["fp16"][name], "fp16"
        if gains.get(FP8, {}).get(name, 0.0) > _FP8_GAIN * max(gain, 0.0):
            gain, kind = gains[FP8][name], FP8
        return Kept(name, kind, gain, graph.convolutions[name].macs / macs)

    ranked = sorted(map(kept, base), key=lambda k: (-k.sensitivity / (_cost(k) + _FIXED_COST), k.name))
    return ranked + [replace(k, kind="fp16", sensitivity=gains["fp16"][k.name]) for k in ranked if k.kind == FP8]


def _cost(kept: Kept) -> float:
    """Share of the multiplications that are no longer in 8 bits."""
    return kept.macs_share if kept.kind == "fp16" else 0.0


def within_share(ranked: Sequence[Kept], max_share: float) -> list[Kept]:
    """Return those, in order, that take error away and together at most a share of the multiplications.

    Those that no longer fit are passed over.
    """
    chosen: list[Kept] = []
    room = max_share
    for kept in ranked:
        if _cost(kept) <= room and kept.sensitivity > 0:
            room -= _cost(kept)
            chosen.append(kept)
    return chosen


def keep(
    base: Assignment, kept: Sequence[Kept], measure: Callable[[Assignment], Agreement], max_loss: float | None = None
) -> Choice:
    """Measure what it is to keep some convolutions; of two entries of a convolution the later one stands.

    Args:
        base: assignment with nothing kept.
        kept: most worthwhile first.
        measure: agreement of an assignment with the reference, on held-out images.
        max_loss: the budget; None is none.
    """
    last = tuple({k.name: k for k in kept}.values())
    assignment = _without(base, last)
    agreement = measure(assignment)
    return Choice(assignment, last, agreement, max_loss is None or agreement.loss <= max_loss)


def search(
    base: Assignment,
    ranked: Sequence[Kept],
    measure: Callable[[Assignment], Agreement],
    *,
    max_loss: float,
    on_measured: Callable[[int, float], None] = lambda count, loss: None,
) -> Choice:
    """Find the shortest prefix of the ranking that brings the loss within the budget, by bisection.

    Args:
        base: see keep.
        ranked: from ranking.
        measure: see keep.
        max_loss: the budget.
        on_measured: called with the number of kept convolutions and the loss of each assignment that was tried.

    Returns:
        The choice; where the budget cannot be met, the best that was measured, with `met` false.
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


def _without(base: Assignment, kept: tuple[Kept, ...]) -> Assignment:
    changed = {k.name: k.kind for k in kept}
    return {name: changed.get(name, kind) for name, kind in base.items() if changed.get(name, kind) != "fp16"}
