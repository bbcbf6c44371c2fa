"""Mistakes in the decoder's three kernels and in the sorting that decoding and suppression share."""

from __future__ import annotations

from functools import partial

from .harness import Mutant

_collect = partial(Mutant, "decode collect", "anchor_decode", "ops/cuda/anchor_decode/collect.cuh")
_keys = partial(Mutant, "decode select", "anchor_decode", "ops/cuda/anchor_decode/keys.cuh")
_slice = partial(Mutant, "decode select", "anchor_decode", "ops/cuda/anchor_decode/slice.cuh")
_select = partial(Mutant, "decode select", "anchor_decode", "ops/cuda/anchor_decode/select.cuh")
_sort = partial(Mutant, "decode select", "anchor_decode", "ops/cuda/common/block_sort.cuh")
_classes = partial(Mutant, "decode classes", "anchor_decode", "ops/cuda/anchor_decode/collect_classes.cuh")
_margin = partial(Mutant, "decode classes", "anchor_decode", "math/margin.h")
_heads = partial(Mutant, "decode heads", "anchor_decode", "ops/cuda/anchor_decode/write_heads.cuh")
_plan = partial(Mutant, "decode write", "anchor_decode", "ops/cuda/anchor_decode/plan.cuh")
_write = partial(Mutant, "decode write", "anchor_decode", "ops/cuda/anchor_decode/write.cuh")

DECODE = [
    _collect("candidates at the threshold", "margin > plan.margin_threshold", "margin >= plan.margin_threshold"),
    _collect("infinite margins pass", " && is_finite(margin);", ";"),
    _collect("one cell past the plane", "cell < level.num_cells ?", "cell <= level.num_cells ?"),
    _collect("no bound on vectors", "level.aligned && first < level.num_cells", "level.aligned"),
    _collect(
        "anchor forgotten in the index",
        "* level.num_anchors + anchor; });",
        "* level.num_anchors; });",
    ),
    _collect("bins not cleared", "s.bins[bin] = 0;", ""),
    _collect("tiles without candidates not marked", "workspace.tile_counts[place] = 0;", ""),
    _collect(
        "barrier after counting removed",
        "__syncthreads();\n    const int total = place_bins",
        "const int total = place_bins",
    ),
    _collect("all of a bin in one place", "plan)] + in_bin[i];", "plan)];"),
    _collect("second bins begin with the first", "+ 1] = end - second;", "+ 1] = end - second - first;"),
    _collect(
        "bins end where they begin",
        "make_ushort2(static_cast<uint16_t>(end - second)",
        "make_ushort2(static_cast<uint16_t>(end - second - first)",
    ),
    _collect(
        "barrier after placing the bins removed",
        "static_cast<uint16_t>(end));\n    __syncthreads();",
        "static_cast<uint16_t>(end));",
    ),
    _collect(
        "barrier before storing removed",
        "__syncthreads();\n    for (int i = thread; i < total",
        "for (int i = thread; i < total",
    ),
    _keys("upper bits of large indices left out", "(key & ((1u << kIndexBits) - 1))", "(key & ((1u << 18) - 1))"),
    _keys("the first candidate of the bins left out", "return bin < 0 ? 0 : bin_ends", "return bin < 0 ? 1 : bin_ends"),
    _keys("one candidate past the bins", "if (place < end) {", "if (place <= end) {"),
    _keys("32 tiles per warp at most", "first_tile += kSelectThreads) {", "first_tile += keys.num_tiles) {"),
    _keys("bins of empty tiles read", " && keys.tile_counts[lane_tile] != 0) {", ") {"),
    _slice("bins of empty tiles added", "if (keys.tile_counts[tile] != 0) {", "if (true) {"),
    _slice("every second bin left out", "second += both.y;", ""),
    _slice(
        "barrier after clearing the bins removed",
        "s.bin_ends[thread] = 0;\n    }\n    __syncthreads();",
        "s.bin_ends[thread] = 0;\n    }",
    ),
    _slice(
        "barrier after adding the bins removed",
        "atomicAdd(&s.bin_ends[bin + 1], second);\n    __syncthreads();",
        "atomicAdd(&s.bin_ends[bin + 1], second);",
    ),
    _slice("the slice ends one bin early", "begins_before(end) - 1;", "begins_before(end - 1) - 1;"),
    _slice(
        "the slice begins one bin late",
        "slice.first_bin = begins_before(first);",
        "slice.first_bin = begins_before(first + 1);",
    ),
    _slice("ranks from the end of the first bin", "s.bin_ends[slice.first_bin - 1];", "s.bin_ends[slice.first_bin];"),
    _slice(
        "barrier before gathering removed",
        "narrow(s, plan, keys, above, slice);\n    __syncthreads();",
        "narrow(s, plan, keys, above, slice);",
    ),
    _slice(
        "barrier after clearing the digits removed",
        "s.digits[digit] = 0;\n        }\n        __syncthreads();",
        "s.digits[digit] = 0;\n        }",
    ),
    _slice(
        "barrier after counting removed",
        "});\n        __syncthreads();\n        find_digit",
        "});\n        find_digit",
    ),
    _slice("the K-th digit is one off", "above + s.digits[digit] < wanted", "above + s.digits[digit] + 1 < wanted"),
    _slice(
        "one more than can be sorted", "slice.count > SelectSort::kCapacity", "slice.count > SelectSort::kCapacity + 1"
    ),
    _slice("keys of other bins counted", "key != 0 && rank >> digit_end == prefix", "key != 0"),
    _slice("higher digits forgotten", "prefix = prefix << (digit_end - shift) | ", "prefix = "),
    _slice("keys above forgotten", "above += s.above;", ""),
    _select(
        "barrier after gathering removed",
        "= key;\n        }\n    });\n    __syncthreads();",
        "= key;\n        }\n    });",
    ),
    _select("starts before the candidates are collected", "wait_for_kernel_before();\n", ""),
    _select("the K-th left out", "key >= slice.lowest", "key > slice.lowest"),
    _select(
        "barrier before the places are summed up removed",
        "__syncthreads();\n    int in_bin =",
        "int in_bin =",
    ),
    _select("places one bin late", "&total) - in_bin;\n    places", "&total);\n    places"),
    _select("one too few", "min(total, plan.top_k)", "min(total, plan.top_k - 1)"),
    _select("scores behind the last not cleared", "scores[i] = 0.0f;", ""),
    _select("progress not cleared", "workspace.progress[image] = 0;", ""),
    _select("more than K chosen", "min(slice.count, plan.top_k - slice.first)", "slice.count"),
    _select("slots counted from the slice's first", "first + i};", "i};"),
    _select(
        "each thread counts one tile only",
        "tile += kSelectThreads) {\n        mine",
        "tile += plan.num_tiles) {\n        mine",
    ),
    _select(
        "barrier after clearing the places removed",
        "places[thread] = 0;\n    __syncthreads();",
        "places[thread] = 0;",
    ),
    _select(
        "barrier before listing removed",
        "places[thread] = static_cast<uint32_t>(before);\n    __syncthreads();",
        "places[thread] = static_cast<uint32_t>(before);",
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
    _sort(
        "barrier before the range removed",
        "__syncthreads();\n        find_range(storage, keys);",
        "find_range(storage, keys);",
    ),
    _sort(
        "barrier after the range removed",
        "find_range(storage, keys);\n        __syncthreads();",
        "find_range(storage, keys);",
    ),
    _sort(
        "barrier after counting a slice removed",
        "__syncthreads();\n        const uint32_t counts",
        "const uint32_t counts",
    ),
    _sort(
        "barrier before distributing removed",
        "<< kHalfBits;\n        __syncthreads();",
        "<< kHalfBits;",
    ),
    _sort(
        "barrier after distributing removed",
        "__syncthreads();\n        int ranks[kItems];",
        "int ranks[kItems];",
    ),
    _sort(
        "barrier between ranking and writing removed",
        "__syncthreads();\n#pragma unroll\n        for (int i = 0; i < kItems; ++i) {\n            if (keys[i] != 0) {"
        "\n                storage.keys[ranks[i]]",
        "#pragma unroll\n        for (int i = 0; i < kItems; ++i) {\n            if (keys[i] != 0) {"
        "\n                storage.keys[ranks[i]]",
    ),
    _sort("bins too wide by half", "(highest - storage.lowest) / kBins", "(highest - storage.lowest) / kBins / 2"),
    _sort(
        "crowded bins merged into nothing",
        "if (__syncthreads_or(max(first, second) > kMaxInBin) != 0) {\n            return false;",
        "if (__syncthreads_or(max(first, second) > kMaxInBin) != 0) {\n            return true;",
    ),
    _sort(
        "second bins begin with the first",
        "static_cast<uint32_t>(begin + first) << kHalfBits",
        "static_cast<uint32_t>(begin) << kHalfBits",
    ),
    _sort("keys of a bin not ranked", "storage.keys[other] > keys[i] ? 1 : 0;", "0;"),
    _plan("a level's first tile or anchor taken for the level before", "index >= plan.levels", "index > plan.levels"),
    _write("starts before the candidates are selected", "wait_for_kernel_before();\n", ""),
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
    _write(
        "fence before the progress is counted removed",
        "__threadfence();\n    const int nonfinite",
        "const int nonfinite",
    ),
    _write(
        "fence behind the progress removed",
        "+ mine;\n        __threadfence();",
        "+ mine;",
    ),
    Mutant(
        "decode write",
        "anchor_decode",
        "ops/cuda/common/block_scan.cuh",
        "first barrier of the sum removed",
        "__syncthreads();\n    if (lane == kWarpSize - 1)",
        "if (lane == kWarpSize - 1)",
    ),
    _classes("classes in the order of anchors", "* plan.found_classes + c - 1;\n        });", "+ c - 1;\n        });"),
    _classes("a sigmoid's first class left out", "plan.sigmoid ? 1 : 0; c < plan", "plan.sigmoid ? 2 : 0; c < plan"),
    _classes("a sigmoid compared with its other classes", "(plan.sigmoid ? 0.0f : bounds[i].rest)", "bounds[i].rest"),
    _classes("the background has a plane with sigmoid", "(plane - (plan.sigmoid ? 1 : 0))", "plane"),
    _classes("tiles without candidates not marked", "workspace.tile_counts[place + c] = 0;", ""),
    _classes("a class without candidates not marked", "workspace.tile_counts[place + c - 1] = 0;", ""),
    _classes("bins not cleared", "s.bins[bin] = 0;", ""),
    _margin("a class is its own rival", "lower = logit > best ? best : logit;", "lower = logit;"),
    _margin("only the best rival counts", "return bound - exact_log", "return bound - 0.0f * exact_log"),
    _margin("NaN in another class passes", "if (ratio != ratio) {", "if (false) {"),
    _heads(
        "values of the first head read for all",
        "payload[head], plan.payload_sizes[head]",
        "payload[0], plan.payload_sizes[head]",
    ),
    _heads("plain values moved as points", "has_bit(plan.point_heads, head) ?", "true ?"),
    _heads("points of values left as deltas", "has_bit(plan.point_heads, head) ?", "head == 0 ?"),
    _heads("x and y by their place in the payload", "decode_landmark(anchor, in_head,", "decode_landmark(anchor, i,"),
    _heads("values that are not finite stay", "finite = finite && is_finite(staged[thread][i]);", ""),
    _heads("classes counted from 0", "% plan.found_classes + 1;", "% plan.found_classes;"),
    _heads("the last chunk not recognised", "kWriteThreads * gridDim.z;", "kWriteThreads;"),
    _heads("barrier before the staged values removed", "= slot;\n    __syncthreads();", "= slot;"),
    _heads("gaps not cleared", "values[row * columns] = 0;", ""),
    _heads("classes not moved", "move(outputs.classes, 1, 0);", ""),
    _heads(
        "barrier before moving removed", "= rows;\n        }\n    }\n    __syncthreads();", "= rows;\n        }\n    }"
    ),
    _heads("starts before the candidates are selected", "wait_for_kernel_before();\n", ""),
]
