"""Mistakes in the kernels of suppression."""

from __future__ import annotations

from functools import partial

from .harness import Mutant

_order = partial(Mutant, "nms order", "batched_nms", "ops/cuda/batched_nms/order.cuh")
_overlap = partial(Mutant, "nms overlap", "batched_nms", "ops/cuda/batched_nms/overlap.cuh")
_suppress = partial(Mutant, "nms suppress", "batched_nms", "ops/cuda/batched_nms/suppress.cuh")
_carry = partial(Mutant, "nms carry", "batched_nms", "ops/cuda/batched_nms/carry.cuh")
_vote = partial(Mutant, "nms vote", "batched_nms", "ops/cuda/batched_nms/vote.cuh")

NMS = [
    _order(
        "barrier before sorting removed",
        "__syncthreads();\n    const int sorted = num_keys;",
        "const int sorted = num_keys;",
    ),
    _order("an inversion between two warps overlooked", "if (lane == kWarpSize - 1 && i + 1 < count)", "if (false)"),
    _order("counts not clamped", "max(0, min(inputs.count[image], params.num_candidates))", "inputs.count[image]"),
    _order("mask forgotten", "__popc(lanes & ((1u << lane) - 1))", "__popc(lanes)"),
    _order("infinite scores pass", "slot < count && is_finite(score)", "slot < count"),
    _order("an infinite score counts as in order", "in_order && is_finite(score) &&", "in_order &&"),
    _overlap("suppressed at the threshold", "box_area) > iou_threshold", "box_area) >= iou_threshold"),
    _overlap(
        "coordinates in half precision",
        "if (iou(to_box(tile.box[at]), tile.area[at], box, box_area) >",
        "Box other = to_box(tile.box[at]);\nother.x1 = __uint_as_float(__float_as_uint(other.x1) & 0xffffe000u);\n"
        "if (iou(other, tile.area[at], box, box_area) >",
    ),
    _overlap("the last of 32 forgotten", "bit < kWarpSize; ++bit", "bit < kWarpSize - 1; ++bit"),
    _overlap("only the first that it meets", "meeting != 0; meeting &= meeting - 1", "meeting != 0; meeting = 0"),
    _overlap(
        "indices behind the last are zero", "outputs.indices[at + thread] = -1;", "outputs.indices[at + thread] = 0;"
    ),
    _overlap("no bound on the cleared slots", "min(kNmsTile, params.max_detections - first)", "kNmsTile"),
    _overlap("a tile not tested against itself", "if (earlier_tile > tile) {", "if (earlier_tile >= tile) {"),
    _overlap(
        "one candidate past the last",
        "finite = place < image.count && is_finite(box.x)",
        "finite = place <= image.count && is_finite(box.x)",
    ),
    _overlap("infinite boxes pass", "is_finite(box.x) && is_finite(box.y) &&", "is_finite(box.x) &&"),
    _overlap(
        "barrier before testing removed",
        "class_id = class_of(tile * kNmsTile + thread);\n    }\n    __syncthreads();",
        "class_id = class_of(tile * kNmsTile + thread);\n    }",
    ),
    _overlap("starts before the candidates are in order", "wait_for_kernel_before();\n", ""),
    _overlap("slots behind the round not cleared", "cleared += round.end", "cleared += 1 << 20"),
    _overlap("no votes if the result is full", "(!params.voting || earlier_tile >= round.first)", "true"),
    _overlap("the second round tests the first one's tiles", "= round.first + blockIdx.y", "= blockIdx.y"),
    _overlap("kept candidates left out", "wanted != 0; wanted &= wanted - 1", "wanted != 0; wanted = 0"),
    _overlap("a word of the own tile forgotten", "? own_word + 1 : kNmsWords", "? max(own_word, 1) : kNmsWords"),
    _overlap("candidates suppress themselves", "overlapped &= (1u << lane) - 1;", "overlapped &= (2u << lane) - 1;"),
    _overlap("finite boxes of the first word only", "tile * kNmsWords + own_word", "tile * kNmsWords"),
    _suppress("too few rounds", "while (kept != last);", "while (false);"),
    _suppress("the overlapped counts, not the kept", "(overlapped & last) == 0", "overlapped == 0"),
    _suppress("the previous tile forgotten", "|= tile > 0 ? previous[by]", "|= tile > 1 ? previous[by]"),
    _suppress("the word before forgotten", "by < word; ++by) {", "by + 1 < word; ++by) {"),
    _suppress("infinite boxes kept", "finite[word] & ~s.suppressed", "~s.suppressed"),
    _suppress("not suppressed by earlier tiles", "finite[word] & ~s.suppressed[tile][word]", "finite[word]"),
    _suppress("one detection too many", "has_bit(kept[word], lane) && before < room", "has_bit(kept[word], lane)"),
    _suppress("the next to last tile forgotten", "return (tile - 1) * kNmsWords;", "return (tile - 2) * kNmsWords;"),
    _suppress("words of other warps forgotten", "+ i * kEarlierWarps;", "+ i * kSuppressWarps;"),
    _suppress("words taken for empty before they are settled", "by >= settled * kNmsWords ||", ""),
    _suppress(
        "a tile left out",
        "if (tile + 1 < tiles) {\n                earlier.suppress",
        "if (tile > round.first && tile + 1 < tiles) {\n                earlier.suppress",
    ),
    _suppress("the second round's first tile not suppressed", "earlier.suppress(s, round.first);", ""),
    _suppress("the second round's second tile left out", "earlier.load(s, image, round.first + 1, round.first);", ""),
    _suppress(
        "barrier before the round's first tile removed",
        "near.load(image, round.first);\n    }\n    __syncthreads();",
        "near.load(image, round.first);\n    }",
    ),
    _suppress(
        "the second round counts detections anew", "round.first > 0 ? outputs.num_detections[image.index] : 0", "0"
    ),
    _suppress("what the first round kept forgotten", "= image.kept[i].bits;", "= 0;"),
    _suppress(
        "landmarks of the first round overwritten", "former * kLandmarkPoints + thread_index()", "thread_index()"
    ),
    _suppress("the second round left out", "s.detections[settled] >= params.max_detections ||", "true ||"),
    _suppress("starts before the overlaps are found", "wait_for_kernel_before();\n", ""),
    _suppress(
        "waits behind the first access",
        "wait_for_kernel_before();\n    const NmsImage image(blockIdx.x, params, inputs, workspace);",
        "const NmsImage image(blockIdx.x, params, inputs, workspace);\n    wait_for_kernel_before();",
    ),
    _suppress(
        "barrier after each tile removed",
        "        __syncthreads();\n        if (s.detections",
        "        if (s.detections",
    ),
    _suppress("the tile that fills the result left out", "return tile + 1;", "return tile;"),
    _suppress("detections before a word counted wrongly", "other < word % kNmsWords", "other <= word % kNmsWords"),
    _suppress("mask one lane too wide", "s.before(word) + __popc(kept & ((1u", "s.before(word) + __popc(kept & ((2u"),
    _suppress("places taken for slots", "const int slot = image.slot(place);", "const int slot = place;"),
    _suppress("candidates behind the last settled taken for kept", ": KeptWord{};", ": KeptWord{~0u, 0};"),
    _suppress(
        "barrier before the landmarks removed",
        "__syncthreads();\n    const auto *from",
        "const auto *from",
    ),
    _suppress(
        "barrier before the first tile removed",
        "__syncthreads();\n    const int settled",
        "const int settled",
    ),
    Mutant(
        "nms suppress",
        "batched_nms",
        "ops/cuda/common/dependent_launch.cuh",
        "dependent launches of code that does not wait",
        "attributes.ptxVersion >= 90",
        "attributes.ptxVersion >= 75",
    ),
    _vote("detections do not vote for themselves", "(word == own_word ? 1u << lane_index() : 0)", "0"),
    _vote(
        "finds votes before the detections are known",
        "let_next_kernel_start();\n    wait_for_kernel_before();",
        "let_next_kernel_start();",
    ),
    _vote("adds votes before they are found", "wait_for_kernel_before();\n    const int lane", "const int lane"),
    _vote("votes for the last, not the first", "voted[i] != 0 && detection < 0", "voted[i] != 0"),
    _vote("the first of a word taken for all", "((voted[i] & -voted[i]) - 1)", "0"),
    _vote(
        "votes of the first 32 lost",
        "int first = first_detection; first < image.count",
        "int first = first_detection + 32; first < image.count",
    ),
    _vote("weights by place, not by slot", "first_in + image.slot(place)", "first_in + place"),
    _vote("one voter too many", "place < image.count ? detection_of", "place <= image.count ? detection_of"),
    _vote("one detection too many", "first_detection + lane < detections", "first_detection + lane <= detections"),
    _vote("every vote counts one", "votes.add(voter_box, voter_score)", "votes.add(voter_box, 1.0f)"),
    _carry("classes behind the last not cleared", "slot < 0 ? 0 : inputs.classes[from]", "inputs.classes[from]"),
    _carry("payload behind the last not cleared", "slot < 0 ? 0.0f : ", ""),
    _carry(
        "the first 32 values only",
        "i < params.payload_size; i += kWarpSize",
        "i < min(params.payload_size, 32); i += kWarpSize",
    ),
    _carry("one detection too many", "detection >= params.max_detections", "detection > params.max_detections"),
    _carry("starts before the detections are known", "wait_for_kernel_before();\n", ""),
    _overlap(
        "classes by place, not by slot",
        "classes[image.slot(place)]",
        "classes[place]",
    ),
    _overlap(
        "classes do not matter",
        "tile.class_id[at] != class_id",
        "false",
    ),
]
