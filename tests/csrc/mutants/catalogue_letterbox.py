"""Mistakes in letterbox and its inverse."""

from __future__ import annotations

from functools import partial

from .harness import Mutant

_letterbox = partial(Mutant, "letterbox", "letterbox", "ops/cuda/letterbox/letterbox.cu")
_bilinear = partial(Mutant, "letterbox", "letterbox", "math/bilinear.h")
_unletterbox = partial(Mutant, "unletterbox", "letterbox", "ops/cuda/letterbox/letterbox.cu")

LETTERBOX = [
    _letterbox(
        "barrier after the table removed",
        "__syncthreads();\n    if (column >= params.out_width)",
        "if (column >= params.out_width)",
    ),
    _letterbox("no bound on the rows", "min(first_row + kTileHeight, params.out_height)", "first_row + kTileHeight"),
    _letterbox("one column too many", "column >= params.out_width", "column > params.out_width"),
    _letterbox("pitch ignored", "tap_y.high * source.view.pitch_bytes", "tap_y.high * 3 * source.view.width"),
    _letterbox("one row of padding too few", "y >= placement.height", "y > placement.height"),
    _letterbox("red and blue half exchanged", "levels[0][params.swap_rb ? mixed[2] : mixed[0]]", "levels[0][mixed[0]]"),
    _letterbox("transforms of the second launch over the first", "transforms + int64_t{3} * first);", "transforms);"),
    _letterbox("one weight in 10 bits", "tap_x.weight, tap_y.weight);", "tap_x.weight & ~1, tap_y.weight);"),
    _letterbox("one level of the table forgotten", "i < 3 * kGreyLevels;", "i < 3 * kGreyLevels - 1;"),
    _bilinear(
        "pixels' corners for their centres",
        "(2 * static_cast<int64_t>(i) + 1) * in_size - out_size",
        "2 * static_cast<int64_t>(i) * in_size",
    ),
    _bilinear("truncated, not rounded", "(blended + (1 << (2 * kBilinearBits - 1)))", "(blended)"),
    _bilinear("one pixel past the edge", "low >= in_size - 1", "low >= in_size"),
    _unletterbox("one detection too many", "slot >= inputs.count[image]", "slot > inputs.count[image]"),
    _unletterbox("no bound on the points", "if (i >= box_points + landmark_points)", "if (false)"),
    _unletterbox("x and y exchanged", "placement.pad_y, placement.factor_y", "placement.pad_y, placement.factor_x"),
    _unletterbox("landmarks two to a slot", "(in_box ? kBoxPoints : points);\n    i +=", "kBoxPoints;\n    i +="),
    _unletterbox("the first image's placement for all", "placements.image[blockIdx.y]", "placements.image[0]"),
    _unletterbox("placements of the first launch for all", "copy_n(placements + first,", "copy_n(placements,"),
    _unletterbox("every launch at the first image", "image = first + static_cast", "image = 0 * first + static_cast"),
]
