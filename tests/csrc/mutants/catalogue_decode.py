"""Mistakes in the decoder's three kernels and in the sorting that decoding and suppression share."""

from __future__ import annotations

from functools import partial

from .harness import Mutant

_collect = partial(Mutant, "decode collect", "anchor_decode", "ops/cuda/anchor_decode/collect.cuh")
_select = partial(Mutant, "decode select", "anchor_decode", "ops/cuda/anchor_decode/select.cuh")
_sort = partial(Mutant, "decode select", "anchor_decode", "ops/cuda/common/block_sort.cuh")
_write = partial(Mutant, "decode write", "anchor_decode", "ops/cuda/anchor_decode/write.cuh")

DECODE = [
    _collect(
        "barrier after the warps' counts removed",
        "warp_counts[warp] = survivors;\n    }\n    __syncthreads();",
        "warp_counts[warp] = survivors;\n    }",
    ),
    _collect(
        "candidates at the threshold", "margins[i] > plan.margin_threshold", "margins[i] >= plan.margin_threshold"
    ),
    _collect("infinite margins pass", " && is_finite(margins[i]));", ");"),
    _collect("one cell past the plane", "cell < level.num_cells ?", "cell <= level.num_cells ?"),
    _collect("no bound on vectors", "level.aligned && first < level.num_cells", "level.aligned"),
    _collect("mask one lane too wide", "((1u << lane) - 1)", "((2u << lane) - 1)"),
    _collect(
        "anchor forgotten in the index",
        "* level.num_anchors + anchor;\n            uint64_t",
        "* level.num_anchors;\n            uint64_t",
    ),
    _collect("warps before counted wrongly", "w < warp ?", "w <= warp ?"),
    _select(
        "barrier after clearing the bins removed",
        "s.bins[bin] = 0;\n        }\n        __syncthreads();",
        "s.bins[bin] = 0;\n        }",
    ),
    _select(
        "barrier after counting removed",
        "});\n        __syncthreads();\n        find_boundary",
        "});\n        find_boundary",
    ),
    _select(
        "barrier after gathering removed",
        "key;\n        }\n    });\n    __syncthreads();",
        "key;\n        }\n    });",
    ),
    _select(
        "the boundary bin is one off",
        "above < wanted && wanted <= above + in_bin",
        "above + 1 < wanted && wanted <= above + in_bin + 1",
    ),
    _select("the K-th left out", "rank_of(key, plan) >= lowest", "rank_of(key, plan) > lowest"),
    _select("one candidate past the tile", "place < count ? scores", "place <= count ? scores"),
    _select("one more than can be sorted", "total > SelectSort::kCapacity", "total > SelectSort::kCapacity + 1"),
    _select(
        "a warp of ties always counts as full", "atomicAdd(&bins[bin], __popc(lanes))", "atomicAdd(&bins[bin], 32)"
    ),
    _select("indices of ties not read", "{ return shift < kIndexBits; }", "{ return shift + 13 < kIndexBits; }"),
    _select("indices at the boundary not read", "plan.lowest_score >= lowest", "plan.lowest_score > lowest"),
    _select(
        "barrier before the places are summed up removed",
        "__syncthreads();\n    int in_bin = s.places",
        "int in_bin = s.places",
    ),
    _select("places one bin late", "&total) - in_bin;\n    s.places", "&total);\n    s.places"),
    _select("one too few", "min(gathered, plan.top_k)", "min(gathered, plan.top_k - 1)"),
    _select("scores behind the last not cleared", "i < plan.top_k; i +=", "i < selected; i +="),
    _select("progress not cleared", "workspace.progress[image] = 0;", ""),
    _select("upper bits of large indices left out", "((1u << kIndexBits) - 1)", "((1u << (kIndexBits - 4)) - 1)"),
    _select(
        "each thread counts one tile only",
        "tile += kSelectThreads) {\n        int in_tile",
        "tile += plan.num_tiles) {\n        int in_tile",
    ),
    _select("indices not read for the last digits", "shift < kIndexBits;", "false;"),
    _select("indices not read for the K-th's score", ">= lowest >> kIndexBits", "> lowest >> kIndexBits"),
    _select(
        "barrier after clearing the places removed",
        "s.places[thread] = 0;\n    __syncthreads();",
        "s.places[thread] = 0;",
    ),
    _select(
        "barrier before listing removed",
        "s.places[thread] = first;\n    __syncthreads();",
        "s.places[thread] = first;",
    ),
    _sort("ranks start at one", "keys[i] > mine", "keys[i] >= mine"),
    _sort(
        "barrier between reading and writing removed",
        "__syncthreads();\n        if (thread < count) {\n            keys[rank]",
        "if (thread < count) {\n            keys[rank]",
    ),
    _sort(
        "barrier after the merge sort removed",
        "Descending());\n        __syncthreads();",
        "Descending());",
    ),
    _write("a level's first anchor taken for one of the level before", "index >= plan.levels", "index > plan.levels"),
    _write(
        "barrier before the staged landmarks removed",
        "staged_slots[thread] = slot;\n        __syncthreads();",
        "staged_slots[thread] = slot;",
    ),
    _write(
        "boxes in half precision",
        "box_out = make_float4(box.x1, box.y1, box.x2, box.y2);",
        "box_out = make_float4(__half2float(__float2half(box.x1)), box.y1, box.x2, box.y2);",
    ),
    _write(
        "first stage of a cascade left out",
        "if (plan.cascade) {\n        anchor = move_anchor",
        "if (false) {\n        anchor = move_anchor",
    ),
    _write(
        "first deltas read without a cascade",
        "if (plan.cascade) {\n            anchor_deltas[i]",
        "if (true) {\n            anchor_deltas[i]",
    ),
    _write(
        "first deltas of the image's first anchor",
        "(level.anchor_deltas) + first_plane * 4 * step",
        "(level.anchor_deltas) + image * level.num_anchors * 4 * step",
    ),
    _write(
        "landmarks not moved by the first stage of a cascade",
        "decode_landmark(anchor, i,",
        "decode_landmark(anchor_at(cell / level.width, cell % level.width, level.stride, size.width, size.height), i,",
    ),
    _write("anchors taken for square", "size.width, size.height);", "size.width, size.width);"),
    Mutant(
        "decode write",
        "anchor_decode",
        "math/decode.h",
        "heights moved in units of widths",
        "deltas[1] * centre_variance * anchor.height",
        "deltas[1] * centre_variance * anchor.width",
    ),
    _write("slots taken for places in the list", "slot = anchor.slot;", ""),
    _write("boxes behind the last not cleared", "if (thread < slots) {", "if (thread < used) {"),
    _write("landmarks behind the last not cleared", "i < slots * kLandmarkPoints", "i < used * kLandmarkPoints"),
    _write("no bound on the slots", "min(kWriteThreads, plan.top_k - first_slot)", "kWriteThreads"),
    _write("infinite landmarks stay", "finite = finite && is_finite(points[i]);\n    }\n    return", "}\n    return"),
    _write("gaps closed one slot too far", "&in_chunk) - 1;", "&in_chunk);"),
    _write(
        "the last block not recognised",
        "(progress & 0xffffu) == active_blocks &&",
        "(progress & 0xffffu) == active_blocks - 1 &&",
    ),
    Mutant(
        "decode write",
        "anchor_decode",
        "ops/cuda/common/block_scan.cuh",
        "first barrier of the sum removed",
        "__syncthreads();\n    if (lane == kWarpSize - 1)",
        "if (lane == kWarpSize - 1)",
    ),
]
