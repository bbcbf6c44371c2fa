"""Mistakes in deformable convolution: its plan, the rearranged inputs, the samples, their product, the whole kernel."""

from __future__ import annotations

from functools import partial

from .harness import Mutant

_FOLDER = "ops/cuda/deform_conv"
_plan = partial(Mutant, "deform_conv plan", "plan", f"{_FOLDER}/plan.cpp")
_prepare = partial(Mutant, "deform_conv prepare", "deform_conv", f"{_FOLDER}/prepare.cuh")
_samples = partial(Mutant, "deform_conv samples", "deform_conv", f"{_FOLDER}/samples.cuh")
_kernel = partial(Mutant, "deform_conv kernel", "deform_conv", f"{_FOLDER}/kernel.cuh")
_multiply = partial(Mutant, "deform_conv multiply", "deform_conv", f"{_FOLDER}/multiply.cuh")
_mma = partial(Mutant, "deform_conv multiply", "deform_conv", "ops/cuda/common/mma.cuh")

DEFORM_CONV = [
    _kernel("the step's barrier removed", "copies.wait();\n    __syncthreads();", "copies.wait();"),
    _kernel("barrier behind the places removed", "span, places);\n            __syncthreads();", "span, places);"),
    _kernel("samples in use overwritten", "store(1 - buffer);", "store(buffer);"),
    _kernel("weights in use overwritten", "copy_weights(1 - buffer, step + 1);", "copy_weights(buffer, step + 1);"),
    _kernel("always the first channels", "x += kDeformRowUnits;", ""),
    _kernel("channels of the next pixel read", "units -= kDeformRowUnits;", ""),
    _kernel("channels of the next group read", "unit < units ? x : nullptr", "x"),
    _kernel("shared steps begin at the first tap", "int tap = (first - span.first_step) % span.taps;", "int tap = 0;"),
    _kernel(
        "shared steps begin at the first channels",
        "const int chunk = (first - span.first_step) / span.taps;",
        "const int chunk = 0;",
    ),
    _kernel(
        "weights of the span's first step",
        "group_weights + first * step_units",
        "group_weights + span.first_step * step_units",
    ),
    _kernel("bias not bounded", "args.bias == nullptr || i >= count ?", "args.bias == nullptr ?"),
    _kernel("channels of the next group overwritten", "if (i < count) {", "{"),
    _kernel("vectors stored at any channel", "count == kVector && co % kVector == 0", "count == kVector"),
    _kernel("padding channels not cleared", "&& count > 0 && co + count", "&& false && co + count"),
    _kernel("partial sums in one place", "*at(split, v) =", "*at(0, v) ="),
    _kernel("the last block but one adds", "static_cast<uint32_t>(splits - 1)", "static_cast<uint32_t>(splits - 2)"),
    _kernel("the last block's sums counted twice", "    sums = {};\n", ""),
    _kernel(
        "fence before the ticket removed",
        "__threadfence();\n    __syncthreads();\n    bool is_last",
        "__syncthreads();\n    bool is_last",
    ),
    _kernel("fence behind the ticket removed", "splits - 1);\n        __threadfence();", "splits - 1);"),
    _kernel("weights of the first 64 output channels for all", "from + i * kSampleBytes", "from"),
    _kernel("weights of the first output channels", "(first_co + row) * kDeformRowUnits", "row * kDeformRowUnits"),
    _kernel("one ticket for all output channels", "* gridDim.y + blockIdx.y;", ";"),
    _samples(
        "coordinates in half precision",
        "static_cast<float>(tap_y) + to_float(args.offset[2 * slot * plane + pixel]);",
        "__half2float(__float2half(static_cast<float>(tap_y) + to_float(args.offset[2 * slot * plane + pixel])));",
    ),
    _samples("offsets across and down exchanged", "(2 * slot + 1) * plane", "2 * slot * plane"),
    _samples(
        "mask of the first tap for all", "args.mask[slot * plane + pixel]", "args.mask[first_slot * plane + pixel]"
    ),
    _samples("offsets of the first group for all", "* p.offset_groups + offset_group) *", "* p.offset_groups) *"),
    _samples("places of the first pass for all", "const int tap = span.first_tap + i", "const int tap = i"),
    _samples("one column past the map", "right = sample.x + 1 >= p.width", "right = sample.x >= p.width"),
    _samples("one row past the map", "below = sample.y + 1 >= p.height", "below = sample.y >= p.height"),
    _samples("one column before the map", "left = sample.x < 0", "left = sample.x < -1"),
    _samples("one row before the map", "above = sample.y < 0", "above = sample.y < -1"),
    _samples("pixels without weight read", "x != nullptr && weights_.y != 0.0f", "x != nullptr"),
    _samples(
        "weights of two corners exchanged",
        "bottom_left, w.z, fmaf(top_right, w.y,",
        "bottom_left, w.y, fmaf(top_right, w.z,",
    ),
    _samples("rows past the output", "row < plan_.out_height && ", ""),
    _multiply("halves of a part exchanged", "matrix / 2 + 2 * k);", "(1 - matrix / 2) + 2 * k);"),
    _multiply("one column for two", "channel() + matrix / 2 * 8 + lane % 8", "channel() + lane % 8"),
    _multiply("the first 16 pixels twice", "load_matrices(row + m * 16 * kDeformRowBytes)", "load_matrices(row)"),
    _multiply("rows of sums exchanged", "m * 16 + half * 8 + lane / 4", "m * 16 + (1 - half) * 8 + lane / 4"),
    _multiply(
        "sums in half precision",
        "multiply_add<T>(this->vectors[m * kColumns + n], rows[m], pair, 0);",
        "multiply_add<T>(this->vectors[m * kColumns + n], rows[m], pair, 0);\n"
        "auto &sum = this->vectors[m * kColumns + n][0];\nsum = __half2float(__float2half(sum));",
    ),
    _multiply("Turing: half of the channels", "byte < 2 * kDeformUnitBytes;", "byte < kDeformUnitBytes;"),
    _multiply("Turing: output channels one off", "thread_index() / 8 + 64 * n", "thread_index() / 8 + 63 * n"),
    _mma(
        "Turing: the first channels twice",
        '"r"(a.words.z), "r"(a.words.w), "r"(high)',
        '"r"(a.words.x), "r"(a.words.y), "r"(high)',
    ),
    _mma("TF32 of samples without the rest", "multiply_add_tf32(sums, a.rest, low, high);", ""),
    _mma("TF32 of weights without the rest", "n == 0 ? b.rest.x : b.rest.z", "0"),
    _prepare("tickets not cleared", "args.workspace.tickets[index] = 0;", ""),
    _prepare(
        "output channels as they are",
        "packed_channel<DeformSums<T, kCoTile>::kPackedColumns>(row % kCoTile)",
        "row % kCoTile",
    ),
    _prepare("weights of the next output channel", " && first + i < plan.piece_channels", ""),
    _prepare("weights of the next group", "co < group_outputs && first", "first"),
    _prepare("taps of later passes behind each other", "+ tap - span.first_tap;", "+ tap;"),
    _prepare("weights of one chunk behind each other", "chunk * span.taps + tap", "chunk * plan.taps + tap"),
    _prepare("barrier of the copy removed", "    __syncthreads();\n    uint4 *target", "    uint4 *target"),
    _prepare("pixels past the map copied", "i < count && first_pixel + pixel < pixels", "i < count"),
    _prepare(
        "pieces copied as if they were whole units",
        "int64_t{piece} * plan.piece_channels",
        "int64_t{piece} * plan.piece_units * kUnitElements<T>",
    ),
    _plan("more partial sums than the workspace holds", "> kDeformPartialBytes", "> 2 * kDeformPartialBytes"),
    _plan("more than 16 blocks share a sum", "kMaxSplits = 16", "kMaxSplits = 17"),
    _plan("x read in place although pieces have no whole units", " || plan.piece_channels % unit != 0;", ";"),
    _plan(
        "pieces of several offset groups", "std::gcd(group_channels, p.in_channels / p.offset_groups)", "group_channels"
    ),
    _plan(
        "more shared memory than the device has",
        " || deform_conv_shared_bytes(co_tile, plan.taps_per_pass) > device.shared_limit",
        "",
    ),
    _plan(
        "padding of y forgotten",
        "const int64_t stored = channels_last ? ceil_div(channels, 8) * 8 : channels;",
        "const int64_t stored = channels;",
    ),
]
