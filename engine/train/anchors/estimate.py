"""Sizes of anchors from the sizes of labelled faces."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from engine.config.model import PyramidLevel, RetinaFaceConfig
from engine.errors import InvalidArgumentError
from engine.train.anchors.reach import Boxes, Floats, best_overlaps, face_sizes

SUFFIX = "-anchors"
OVERLAPS = (0.35, 0.5)
"""IoU at which faces count as reached: where Pytorch_Retinaface has positives, and where the paper has them."""

# Least sizes of an anchor in cells of its level, each tried. Smaller anchors fit small faces better, but leave gaps
# between the cells: for photos with faces of 8 to 128 pixels and strides of 8 to 32, sizes without a least one reached
# 65 % of the faces at an IoU of .5, where the preset's reached 78 %.
_LEAST_CELLS = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5)
_BANDS = (0, 8, 16, 32, 64, 128, 256)  # edges in pixels
_MOST_ROUNDS = 1000
_LONGEST_NAME = 64


@dataclass(frozen=True)
class Band:
    """The faces of some sizes, and the parts of them that anchors reach.

    Attributes:
        least: size in pixels from which a face belongs to the band.
        below: size in pixels below which it does; infinite in the last band.
        faces: their number.
        before: parts of them that the old anchors reach, one for each of OVERLAPS; 0 to 1.
        after: parts of them that the new anchors reach.
    """

    least: float
    below: float
    faces: int
    before: tuple[float, ...]
    after: tuple[float, ...]


@dataclass(frozen=True)
class AnchorReport:
    """What anchors can reach of the labelled faces.

    Attributes:
        before: sizes of the old anchors of each level, in pixels.
        after: sizes of the new ones.
        all: all faces.
        bands: those of each size, without empty bands.
    """

    before: tuple[tuple[float, ...], ...]
    after: tuple[tuple[float, ...], ...]
    all: Band
    bands: tuple[Band, ...]

    def lines(self) -> list[str]:
        """Return the report as text for a terminal."""
        return [
            f"anchors before: {_sizes_text(self.before)}",
            f"anchors after:  {_sizes_text(self.after) if self.before != self.after else 'the same, none reach more'}",
            "faces that an anchor overlaps, before -> after:",
            f"{'size':>10} {'faces':>7} " + " ".join(f"{f'IoU {v:g}':>16}" for v in OVERLAPS),
            *(_band_text(band) for band in (*self.bands, self.all)),
        ]


def estimate_anchors(
    config: RetinaFaceConfig, boxes: Boxes, input_size: tuple[int, int]
) -> tuple[RetinaFaceConfig, AnchorReport]:
    """Return a config whose anchors reach more of the faces, and what old and new anchors reach.

    The sizes are the k-means of the logarithms of the faces' sizes (Lloyd's algorithm from the sizes of the given
    config), so that an anchor that is nearest to no face stays as it is. Anchors have a least size in cells; of several
    such bounds the one that reaches most, on average over OVERLAPS, is taken. If none reaches more than the old
    anchors, those stay. Aspect ratios and the number of anchors stay, and so do the heads' shapes. The finest level
    gets the smallest sizes; within a level they have the order of the old ones, which trained heads know.

    Args:
        config: of the model.
        boxes: [N, 4], x1 y1 x2 y2 in pixels of the network's input: of pictures as they are scaled in training.
            Those without area, or not finite, are left out.
        input_size: (height, width) of the network's input in training.

    Returns:
        The config, called NAME-anchors, or the given one if it stays; and the report.

    Raises:
        InvalidArgumentError: there is no face.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    boxes = boxes[np.isfinite(boxes).all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1)]
    if not len(boxes):
        raise InvalidArgumentError(
            "no face has a size, expected at least one: anchors are estimated from labelled faces"
        )
    sizes = np.log(face_sizes(boxes))
    name = config.name.removesuffix(SUFFIX)[: _LONGEST_NAME - len(SUFFIX)] + SUFFIX
    candidates = [replace(config, name=name, levels=_fitted(config.levels, sizes, cells)) for cells in _LEAST_CELLS]
    overlaps = {found: best_overlaps(found, boxes, input_size) for found in (config, *candidates)}
    best = max(overlaps, key=lambda found: np.mean(_reached(overlaps[found])))  # of equal ones the first
    return best, _report((config, best), (overlaps[config], overlaps[best]), face_sizes(boxes))


def _reached(overlaps: Floats) -> tuple[float, ...]:
    """Return the parts of faces that are reached, for each of OVERLAPS."""
    return tuple(float((overlaps >= v).mean()) if len(overlaps) else 0.0 for v in OVERLAPS)


def _fitted(levels: tuple[PyramidLevel, ...], sizes: Floats, least_cells: float) -> tuple[PyramidLevel, ...]:
    """Return the levels with the k-means of sizes, logarithms of pixels, of at least some cells."""
    old = np.sort(np.concatenate([level.anchor_sizes for level in levels]))
    least = np.concatenate([np.full(len(level.anchor_sizes), least_cells * level.stride) for level in levels])
    return _distribute(levels, np.exp(_k_means(sizes, np.log(old), np.log(least))).round(2))


def _k_means(values: Floats, start: Floats, least: Floats) -> Floats:
    """Return the means that Lloyd's algorithm reaches from a start, ascending, none below its least value.

    A mean to which no value is nearest stays where it is.
    """
    means = np.maximum(start, least)
    for _ in range(_MOST_ROUNDS):
        nearest = np.searchsorted((means[1:] + means[:-1]) / 2, values)
        counts = np.bincount(nearest, minlength=len(means))
        sums = np.bincount(nearest, values, len(means))
        moved = np.maximum(np.where(counts > 0, sums / np.maximum(counts, 1), means), least)
        if np.array_equal(moved, means):
            break
        means = moved
    return means


def _distribute(levels: tuple[PyramidLevel, ...], sizes: Floats) -> tuple[PyramidLevel, ...]:
    """Return the levels with sizes, which are ascending: the smallest to the first level."""
    found, start = [], 0
    for level in levels:
        count = len(level.anchor_sizes)
        ranks = np.argsort(np.argsort(level.anchor_sizes, kind="stable"))
        own = sizes[start : start + count][ranks]
        found.append(replace(level, anchor_sizes=tuple(float(size) for size in own)))
        start += count
    return tuple(found)


def _report(
    configs: tuple[RetinaFaceConfig, RetinaFaceConfig], overlaps: tuple[Floats, Floats], sizes: Floats
) -> AnchorReport:
    def band(least: float, below: float) -> Band:
        inside = (sizes >= least) & (sizes < below)
        before, after = (_reached(values[inside]) for values in overlaps)
        return Band(least, below, int(inside.sum()), before, after)

    bands = [band(*edges) for edges in pairwise((*_BANDS, np.inf))]
    before, after = (tuple(level.anchor_sizes for level in config.levels) for config in configs)
    return AnchorReport(before, after, band(0, np.inf), tuple(b for b in bands if b.faces))


def _sizes_text(levels: tuple[tuple[float, ...], ...]) -> str:
    return " | ".join(" ".join(f"{size:g}" for size in sizes) for sizes in levels)


def _band_text(band: Band) -> str:
    name = "all" if band.least == 0 and band.below == np.inf else f"{band.least:g} to {band.below:g}"
    parts = " ".join(f"{f'{b:.1%} -> {a:.1%}':>16}" for b, a in zip(band.before, band.after, strict=True))
    return f"{name:>10} {band.faces:7} {parts}"
