"""Mistakes in the kernels of suppression."""

from __future__ import annotations

from functools import partial

from .harness import Mutant

_order = partial(Mutant, "nms order", "batched_nms", "ops/cuda/batched_nms/order.cuh")
_suppress = partial(Mutant, "nms suppress", "batched_nms", "ops/cuda/batched_nms/suppress.cuh")
_tile = partial(Mutant, "nms suppress", "batched_nms", "ops/cuda/batched_nms/tile.cuh")
_image = partial(Mutant, "nms suppress", "batched_nms", "ops/cuda/batched_nms/image.cuh")
_vote = partial(Mutant, "nms vote", "batched_nms", "ops/cuda/batched_nms/vote.cuh")

NMS = [
    _order(
        "barrier before sorting removed",
        "__syncthreads();\n    const int sorted = num_keys;",
        "const int sorted = num_keys;",
    ),
    _order("an inversion between two warps overlooked", "if (lane == kWarpSize - 1 && i + 1 < count)", "if (false)"),
    _order("ticket not cleared", "*workspace.ticket = 0;", ""),
    _order("counts not clamped", "max(0, min(inputs.count[image], params.num_candidates))", "inputs.count[image]"),
    _order("mask forgotten", "__popc(lanes & ((1u << lane) - 1))", "__popc(lanes)"),
    _order("infinite scores pass", "slot < count && is_finite(score)", "slot < count"),
    _order("an infinite score counts as in order", "in_order && is_finite(score) &&", "in_order &&"),
    _suppress(
        "barrier before testing ahead removed",
        "area(to_box(box));\n    }\n    __syncthreads();\n    const int own_word",
        "area(to_box(box));\n    }\n    const int own_word",
    ),
    _suppress(
        "barrier after testing ahead removed",
        "s.overlap_previous[word][mine.index] = in_previous;\n    __syncthreads();",
        "s.overlap_previous[word][mine.index] = in_previous;",
    ),
    _suppress(
        "barrier before settling removed",
        "__syncthreads();\n    if (thread < kWarpSize) {\n        settle",
        "if (thread < kWarpSize) {\n        settle",
    ),
    _suppress(
        "barrier after settling removed",
        "__syncthreads();\n    write_detections",
        "write_detections",
    ),
    _suppress("the last verdict not taken", "if (tile > 1 && alive.any())", "if (tile > 2 && alive.any())"),
    _suppress("one buffer instead of two", "const int buffer = other % 2;", "const int buffer = 0;"),
    _suppress("the wrong buffer at the end", "s.overlap[tile % 2]", "s.overlap[1 - tile % 2]"),
    _suppress("candidates suppress themselves", "in_own & ((1u << lane) - 1)", "in_own & ((2u << lane) - 1)"),
    _suppress(
        "one candidate past the last",
        "if (place < image.count) {\n        mine.box",
        "if (place <= image.count) {\n        mine.box",
    ),
    _suppress(
        "one detection too many",
        "__popc(keep & ((1u << lane) - 1)) < room",
        "__popc(keep & ((1u << lane) - 1)) <= room",
    ),
    _suppress("the undecided suppress", "(overlapped & safe) != 0", "(overlapped & undecided) != 0"),
    _suppress(
        "the previous tile forgotten", "if (tile > 0) {\n        in_previous", "if (tile > 1) {\n        in_previous"
    ),
    _suppress("detections of the last tile not counted", "thread == 0 ? s.kept_own.count() : 0", "0"),
    _suppress(
        "infinite boxes pass", "is_finite(mine.box.x1) && is_finite(mine.box.y1) &&", "is_finite(mine.box.x1) &&"
    ),
    _tile("suppressed at the threshold", "box_area) > iou_threshold", "box_area) >= iou_threshold"),
    _tile("rank one too high", "__popc(at(word) & ((1u << bit) - 1))", "__popc(at(word) & ((2u << bit) - 1))"),
    _tile(
        "coordinates in half precision",
        "const Box other = to_box(tile.box[at]);",
        "Box other = to_box(tile.box[at]);\nother.x1 = __uint_as_float(__float_as_uint(other.x1) & 0xffffe000u);",
    ),
    _tile("the last of 32 forgotten", "bit < kWarpSize; ++bit", "bit < kWarpSize - 1; ++bit"),
    _image(
        "indices behind the last are zero", "outputs.indices[at + thread] = -1;", "outputs.indices[at + thread] = 0;"
    ),
    _image("no bound on the cleared slots", "min(kNmsTile, params.max_detections - first)", "kNmsTile"),
    _vote(
        "votes of the first 32 lost",
        "int first = first_detection; first < image.count",
        "int first = first_detection + 32; first < image.count",
    ),
    _vote("weights by place, not by slot", "image.slots == nullptr ? place : image.slots[place]", "place"),
    _vote("one voter too many", "place < image.count ? detection_of", "place <= image.count ? detection_of"),
    _vote("one detection too many", "first_detection + lane < detections", "first_detection + lane <= detections"),
    _vote("every vote counts one", "votes.add(voter_box, voter_score)", "votes.add(voter_box, 1.0f)"),
]
