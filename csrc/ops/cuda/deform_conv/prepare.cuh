#pragma once

#include "ops/cuda/common/rounding.cuh"
#include "ops/cuda/common/scalar.cuh"
#include "ops/cuda/common/warp.cuh"
#include "ops/cuda/deform_conv/arguments.cuh"

// Rearranges weights and x for the main kernel, in one launch: the first blocks pack weights, the others copy x.

namespace retinaface {

constexpr int kPrepareThreads = 256;

/// Elements of one kDeformUnitBytes unit.
template <typename T>
constexpr int kUnitElements = kDeformUnitBytes / static_cast<int>(sizeof(T));

/// Writes one unit of packed weights: those of consecutive input channels for one tap and output channel.
template <typename T, int kCoTile>
__device__ void pack_weights(const DeformConvArgs<T> &args, int64_t index) {
    const DeformConvPlan &plan = args.plan;
    const int unit = static_cast<int>(index % kDeformRowUnits);
    const int tap = static_cast<int>(index / kDeformRowUnits % plan.taps);
    const int64_t row_index = index / kDeformRowUnits / plan.taps;  // [piece, chunk][group][row]
    const int row = static_cast<int>(row_index % plan.weight_rows);
    const int group = static_cast<int>(row_index / plan.weight_rows % args.params.groups);
    const int chunk_index = static_cast<int>(row_index / plan.weight_rows / args.params.groups);
    const int piece = chunk_index / plan.chunks;
    const int chunk = chunk_index % plan.chunks;

    const int group_outputs = args.params.out_channels / args.params.groups;
    const int co = row / kCoTile * kCoTile + packed_channel<kCoTile>(row % kCoTile);
    const int first = chunk * plan.chunk_channels + unit * kUnitElements<T>;
    const T *source = args.weight + (((int64_t{group} * group_outputs + co) * plan.pieces + piece) * plan.piece_channels +
                                     first) * plan.taps + tap;
    alignas(kDeformUnitBytes) T values[kUnitElements<T>] = {};
#pragma unroll
    for (int i = 0; i < kUnitElements<T>; ++i) {
        if (co < group_outputs && first + i < plan.piece_channels) {
            values[i] = source[i * plan.taps];
        }
    }
    const DeformConvSpan span = span_of(plan, piece, tap / plan.taps_per_pass * plan.taps_per_pass);
    const int step = span.first_step + chunk * span.taps + tap - span.first_tap;
    const int64_t target = ((int64_t{group} * plan.steps + step) * plan.weight_rows + row) * kDeformRowBytes +
                           unit * kDeformUnitBytes;
    *reinterpret_cast<uint4 *>(args.workspace.weights + target) = *reinterpret_cast<const uint4 *>(values);
}

/// Copies a square of pixels and channels, of which a row of the copy has kDeformRowBytes. Called by a whole block.
template <typename T>
__device__ void copy_x(const DeformConvArgs<T> &args, int64_t square) {
    constexpr int kWords = kDeformRowBytes / static_cast<int>(sizeof(uint32_t));
    constexpr int kPerWord = static_cast<int>(sizeof(uint32_t) / sizeof(T));
    constexpr int kChannels = kWords * kPerWord;
    constexpr int kPixels = 2 * kWarpSize;
    __shared__ uint32_t tile[kPixels][kWords + 1];  // the padding keeps both ways through it free of bank conflicts
    const DeformConvPlan &plan = args.plan;
    const int64_t pixels = static_cast<int64_t>(args.params.height) * args.params.width;
    const int64_t columns = (pixels + kPixels - 1) / kPixels;
    const int64_t first_pixel = square % columns * kPixels;
    const int64_t rows = (plan.x_pixel + kChannels - 1) / kChannels;
    const int64_t first_channel = square / columns % rows * kChannels;
    const int64_t image = square / columns / rows;

    const T *source = args.x + image * plan.given_image + first_pixel * plan.given_pixel;
    for (int word = warp_index(); word < kWords; word += kPrepareThreads / kWarpSize) {
#pragma unroll
        for (int pixel = lane_index(); pixel < kPixels; pixel += kWarpSize) {
            alignas(sizeof(uint32_t)) T values[kPerWord] = {};
#pragma unroll
            for (int i = 0; i < kPerWord; ++i) {
                const int64_t channel = first_channel + word * kPerWord + i;
                const int64_t in_piece = channel % plan.piece_stride;
                if (channel < plan.x_pixel && in_piece < plan.piece_channels && first_pixel + pixel < pixels) {
                    const int64_t given = channel / plan.piece_stride * plan.piece_channels + in_piece;
                    values[i] = source[given * plan.given_channel + pixel * plan.given_pixel];
                }
            }
            tile[pixel][word] = *reinterpret_cast<const uint32_t *>(values);
        }
    }
    __syncthreads();
    T *target = reinterpret_cast<T *>(args.workspace.x) + image * plan.x_image + first_pixel * plan.x_pixel;
    for (int i = thread_index(); i < kPixels * kDeformRowUnits; i += kPrepareThreads) {
        const int pixel = i / kDeformRowUnits;
        const int unit = i % kDeformRowUnits;
        const int64_t channel = first_channel + unit * kUnitElements<T>;
        if (first_pixel + pixel < pixels && channel < plan.x_pixel) {
            const uint32_t *words = &tile[pixel][4 * unit];
            *reinterpret_cast<uint4 *>(target + pixel * plan.x_pixel + channel) = {words[0], words[1], words[2],
                                                                                   words[3]};
        }
    }
}

/// Threads that pack_weights needs, and blocks that copy_x needs.
inline int64_t weight_units(const DeformConvParams &params, const DeformConvPlan &plan) {
    return int64_t{plan.steps} * params.groups * plan.weight_rows * kDeformRowUnits;
}
template <typename T>
int64_t x_squares(const DeformConvParams &params, const DeformConvPlan &plan) {
    constexpr int64_t kChannels = kDeformRowBytes / static_cast<int64_t>(sizeof(T));
    const int64_t pixels = int64_t{params.height} * params.width;
    return (pixels + 2 * kWarpSize - 1) / (2 * kWarpSize) * ((plan.x_pixel + kChannels - 1) / kChannels) * params.batch;
}

template <typename T, int kCoTile>
__global__ void __launch_bounds__(kPrepareThreads)
    prepare_deform_conv_kernel(const __grid_constant__ DeformConvArgs<T> args, int64_t units, int num_tickets) {
    const int64_t weight_blocks = (units + kPrepareThreads - 1) / kPrepareThreads;
    if (blockIdx.x >= weight_blocks) {
        copy_x(args, blockIdx.x - weight_blocks);
        return;
    }
    const int64_t index = int64_t{blockIdx.x} * kPrepareThreads + thread_index();
    if (index < num_tickets) {
        args.workspace.tickets[index] = 0;
    }
    if (index < units) {
        pack_weights<T, kCoTile>(args, index);
    }
}

}  // namespace retinaface
