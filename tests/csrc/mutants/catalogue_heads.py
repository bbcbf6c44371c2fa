"""Mistakes in the kernels for heads of any kind."""

from __future__ import annotations

from functools import partial

from .harness import Mutant

_classes = partial(Mutant, "decode classes", "anchor_decode", "ops/cuda/anchor_decode/collect_classes.cuh")
_margin = partial(Mutant, "decode classes", "anchor_decode", "math/margin.h")
_write = partial(Mutant, "decode heads", "anchor_decode", "ops/cuda/anchor_decode/write_heads.cuh")
_carry = partial(Mutant, "nms carry", "batched_nms", "ops/cuda/batched_nms/carry.cuh")

HEADS = [
    _classes("classes in the order of anchors", "* plan.found_classes + c - 1;\n        });", "+ c - 1;\n        });"),
    _classes("a sigmoid's first class left out", "plan.sigmoid ? 1 : 0; c < plan", "plan.sigmoid ? 2 : 0; c < plan"),
    _classes("a sigmoid compared with its other classes", "(plan.sigmoid ? 0.0f : bounds[i].rest)", "bounds[i].rest"),
    _classes("the background has a plane with sigmoid", "(plane - (plan.sigmoid ? 1 : 0))", "plane"),
    _classes("tiles without candidates not marked", "workspace.tile_counts[place + c] = 0;", ""),
    _classes("a class without candidates not marked", "workspace.tile_counts[place + c - 1] = 0;", ""),
    _classes("bins not cleared", "s.bins[bin] = 0;", ""),
    _margin("the second best forgotten", "rest = lower > rest ? lower : rest;", ""),
    _margin("only the best rival counts", "return bound - exact_log", "return bound - 0.0f * exact_log"),
    _margin("NaN in another class passes", "if (ratio != ratio) {", "if (false) {"),
    _write(
        "values of the first head read for all",
        "payload[head], plan.payload_sizes[head]",
        "payload[0], plan.payload_sizes[head]",
    ),
    _write("plain values moved as points", "head == 0 ? decode_landmark", "true ? decode_landmark"),
    _write("values that are not finite stay", "finite = finite && is_finite(staged[thread][i]);", ""),
    _write("classes counted from 0", "% plan.found_classes + 1;", "% plan.found_classes;"),
    _write("the last chunk not recognised", "kWriteThreads * gridDim.z;", "kWriteThreads;"),
    _write("barrier before the staged values removed", "= slot;\n    __syncthreads();", "= slot;"),
    _write("gaps not cleared", "values[row * columns] = 0;", ""),
    _write("classes not moved", "move(outputs.classes, 1, 0);", ""),
    _write(
        "barrier before moving removed", "= rows;\n        }\n    }\n    __syncthreads();", "= rows;\n        }\n    }"
    ),
    _write("starts before the candidates are selected", "wait_for_kernel_before();\n", ""),
    _carry("classes behind the last not cleared", "slot < 0 ? 0 : inputs.classes[from]", "inputs.classes[from]"),
    _carry("payload behind the last not cleared", "slot < 0 ? 0.0f : ", ""),
    _carry(
        "the first 32 values only",
        "i < params.payload_size; i += kWarpSize",
        "i < min(params.payload_size, 32); i += kWarpSize",
    ),
    _carry("one detection too many", "detection >= params.max_detections", "detection > params.max_detections"),
    _carry("starts before the detections are known", "wait_for_kernel_before();\n", ""),
    Mutant(
        "nms overlap",
        "batched_nms",
        "ops/cuda/batched_nms/overlap.cuh",
        "classes by place, not by slot",
        "classes[image.slot(place)]",
        "classes[place]",
    ),
    Mutant(
        "nms overlap",
        "batched_nms",
        "ops/cuda/batched_nms/overlap.cuh",
        "classes do not matter",
        "tile.class_id[at] != class_id",
        "false",
    ),
]
