"""Mistakes in deformable convolution: in the common part, in that of tensor cores and in that of FMA units."""

from __future__ import annotations

from functools import partial

from .harness import Mutant

_both = partial(Mutant, "deform_conv gather", "deform_conv", "ops/cuda/deform_conv/gather.cuh")
_kernel = partial(Mutant, "deform_conv gather", "deform_conv", "ops/cuda/deform_conv/kernel.cuh")
_mma = partial(Mutant, "deform_conv 16-bit", "deform_conv", "ops/cuda/deform_conv/mma.cuh")
_fma = partial(Mutant, "deform_conv float32", "deform_conv", "ops/cuda/deform_conv/fma.cuh")

DEFORM_CONV = [
    _kernel(
        "the step's barrier removed",
        "gather.finish_staging();\n                __syncthreads();",
        "gather.finish_staging();",
    ),
    _kernel(
        "window of the step in use overwritten",
        "gather.stage(chunk_of(step + 2), step & 1);",
        "gather.stage(chunk_of(step + 2), (step + 1) & 1);",
    ),
    _kernel("weights of the first pass for all", "{channel * kernel_taps + first_tap,", "{channel * kernel_taps,"),
    _both(
        "coordinates in half precision",
        "float y = static_cast<float>(tap_y) + to_float(args_.offset[2 * slot * plane + pixel]);",
        "float y = static_cast<float>(tap_y) + to_float(args_.offset[2 * slot * plane + pixel]);\n"
        "y = __half2float(__float2half(y));",
    ),
    _both(
        "one column past the map",
        "column < args_.params.width;\n            sources",
        "column <= args_.params.width;\n            sources",
    ),
    _both("one row past the window", "row + 1 < args_.plan.window_h", "row < args_.plan.window_h"),
    _both("far samples taken for near ones", "far |= position < 0;", ""),
    _both(
        "far samples not bounded",
        "row >= 0 && column >= 0 && row < args_.params.height && column < args_.params.width;\n            int64_t",
        "row >= 0 && row < args_.params.height && column < args_.params.width;\n            int64_t",
    ),
    _both(
        "weights of two corners exchanged",
        "fmaf(bottom_left, weight.z, fmaf(top_right, weight.y,",
        "fmaf(bottom_left, weight.y, fmaf(top_right, weight.z,",
    ),
    _both("offsets of the first group for all", "* p.offset_groups + offset_group) *", "* p.offset_groups) *"),
    _both(
        "mask of the first tap for all", "args_.mask[slot * plane + pixel]", "args_.mask[first_slot * plane + pixel]"
    ),
    _both(
        "offsets across and down exchanged",
        "static_cast<float>(tap_x) + to_float(args_.offset[(2 * slot + 1)",
        "static_cast<float>(tap_x) + to_float(args_.offset[(2 * slot)",
    ),
    _mma(
        "last output channels not bounded",
        "min(co_ + lane / 8 * 8, co_end_ - 8) + lane / 4 % 2",
        "co_ + lane / 8 * 8 + lane / 4 % 2",
    ),
    _mma("second plane of the samples forgotten", "lane / 16 * (taps * kChannels);", "0;"),
    _mma("bias not bounded", "args_.bias == nullptr || first + c >= co_end_ ?", "args_.bias == nullptr ?"),
    _mma("weights past the last sample", "if (k + i < weights.count) {", "{"),
    _mma(
        "channels of the next group overwritten",
        "if (first + c < co_end_) {\n                        target",
        "{\n                        target",
    ),
    _mma(
        "pairs packed the wrong way round",
        "pack<T>(samples[k & ~1], samples[k | 1])",
        "pack<T>(samples[k | 1], samples[k & ~1])",
    ),
    _mma("padding channels not cleared", "is_last && co < args_.plan.y_pixel; ++co", "false; ++co"),
    _mma(
        "sums in half precision",
        "multiply_add<T>(sums[n], samples, weights[n]);",
        "multiply_add<T>(sums[n], samples, weights[n]);\nsums[n][0] = __half2float(__float2half(sums[n][0]));",
    ),
    _mma("next weights not loaded", "load_weights(weights, k + 16, next);", "load_weights(weights, k, next);"),
    _fma("last output channels not bounded", "min(co_ + n, co_end_ - 1)", "(co_ + n)"),
    _fma(
        "channels of the next group overwritten",
        "if (co < co_end_) {\n                    float bias",
        "{\n                    float bias",
    ),
    _fma(
        "samples one off",
        "multiply_add(samples + (k + i) * kPitch, column);",
        "multiply_add(samples + (k + i + 1) * kPitch, column);",
    ),
    _fma("pixels in another order", "% 8 * 4 + i % 4 + i / 4 * kHalfTile", "% 8 * 8 + i"),
    _fma("bias forgotten", "(sums_[i][n] + bias)", "(sums_[i][n])"),
    _fma(
        "sums in half precision",
        "sums_[i][n] = fmaf(pixels[i], column[n], sums_[i][n]);",
        "sums_[i][n] = __half2float(__float2half(fmaf(pixels[i], column[n], sums_[i][n])));",
    ),
]
