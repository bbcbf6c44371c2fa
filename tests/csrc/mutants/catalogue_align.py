"""Mistakes in aligned crops."""

from __future__ import annotations

from functools import partial

from .harness import Mutant

_align = partial(Mutant, "align", "align", "ops/cuda/align/align.cu")
_similarity = partial(Mutant, "align", "align", "math/similarity.h")
_sampling = partial(Mutant, "align", "align", "math/crop_sampling.h")

ALIGN = [
    _align("barrier after the transform removed", "    __syncthreads();\n", ""),
    _align("words also where a crop ends within one", "group + kPixelsPerGroup <= pixels", "group < pixels"),
    _align("words also where a crop begins within one", "if (0 <= group && group", "if (group"),
    _align("bytes of the crop before", "} else if (0 <= pixel && pixel < pixels) {", "} else if (pixel < pixels) {"),
    _align("bytes of the crop behind", "} else if (0 <= pixel && pixel < pixels) {", "} else if (0 <= pixel) {"),
    _align("crops begin at words", "- static_cast<int>(first % kPixelsPerGroup)", ""),
    _align("tiles for crops that begin at words", "pixels % kPixelsPerGroup == 0 ? 0 : kPixelsPerGroup - 1", "0"),
    _align("the next lane's levels one byte off", "next << (24 - 8 * place)", "next << (16 - 8 * place)"),
    _align(
        "a column of the image too many", "-1 <= tap_x.low && tap_x.low < image.width - 1", "tap_x.low < image.width"
    ),
    _align("a row of the image too few", "tap_y.low < image.height - 1;", "tap_y.low < image.height - 2;"),
    _align("no half pixel before the image", "-1 <= tap_y.low &&", "0 <= tap_y.low &&"),
    _align("pitch ignored", "bottom = top + image.pitch_bytes", "bottom = top + 3 * image.width"),
    _align("the first image for all", "images.image[exists ? index - range.first : 0]", "images.image[0]"),
    _align("images of the first launch for all", "copy_n(images + first,", "copy_n(images,"),
    _align("every launch for all images", "index < range.first || index >= range.first + range.count", "false"),
    _align("faces without an image left out", "range.first > 0) {", "true) {"),
    _align("an image too many", "0 <= index && index < params.images", "0 <= index && index <= params.images"),
    _align("transforms by the last tile", "if (blockIdx.y == 0)", "if (blockIdx.y == 1)"),
    _align(
        "rows mirrored",
        "sampling.y + u * sampling.dy + v * sampling.dx",
        "sampling.y - u * sampling.dy + v * sampling.dx",
    ),
    _similarity("a mean in single precision", "points.mean_x *= kFifth", "points.mean_x *= 0.2f"),
    _similarity("cross product without its sign", "from.x[i] * to.y[i] - from.y[i]", "from.x[i] * to.y[i] + from.y[i]"),
    _similarity(
        "the last point forgotten in the spread",
        "from.x[i] * from.x[i] + from.y[i] * from.y[i]",
        "i == 4 ? 0.0 : from.x[i] * from.x[i] + from.y[i] * from.y[i]",
    ),
    _similarity("the inverse turns the other way", "-cross * inverse", "cross * inverse"),
    _similarity("in single precision", "double spread = 0, dot = 0, cross = 0", "float spread = 0, dot = 0, cross = 0"),
    _similarity(
        "transforms of unusable landmarks",
        "usable ? static_cast<float>(values[i]) : 0.0f",
        "static_cast<float>(values[i])",
    ),
    _sampling("truncated, not rounded", "position + (int64_t{1} << (kDropped - 1))", "position"),
    _sampling("a bit of the weight forgotten", "rounded & (kBilinearOne - 1)", "rounded & (kBilinearOne - 2)"),
    _sampling("no bound to the right", "fabs(crop_to_image.offset_x) <= kFarthest", "true"),
    _sampling("no bound above", "fabs(crop_to_image.offset_y) <= kFarthest", "true"),
    _sampling("no smallest step", "(a >= kSmallestStep || b >= kSmallestStep)", "true"),
    _sampling("no largest step along the row", "a <= kLargestStep &&", "true &&"),
    _sampling("no largest step across", "b <= kLargestStep &&", "true &&"),
]
