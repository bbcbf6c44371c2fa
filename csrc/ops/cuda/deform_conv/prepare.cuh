#pragma once

#include "ops/cuda/common/rounding.cuh"
#include "ops/cuda/common/scalar.cuh"
#include "ops/cuda/common/warp.cuh"
#include "ops/cuda/deform_conv/multiply.cuh"

// Rearranges weights and x for the main kernel, in one launch: the first blocks pack weights, the others copy x.

namespace retinaface {

constexpr int kPrepareThreads = 256;
constexpr int kSquarePixels = 2 * kWarpSize;

/// Elements of one kDeformUnitBytes unit.
template <typename T>
constexpr int kUnitElements = kDeformUnitBytes / static_cast<int>(sizeof(T));

/// Writes one unit of packed weights: those of consecutive input channels for one tap and output channel.
template <typename T, int kCoTile>
__device__ void pack_weights(const DeformConvArgs<T> &args, unsigned index) {
    const DeformConvPlan &plan = args.plan;
    const int unit = static_cast<int>(index % kDeformRowUnits);
    const unsigned rest = index / kDeformRowUnits;
    const int tap = static_cast<int>(rest % plan.taps);
    const int row_index = static_cast<int>(rest / plan.taps);  // [group][row][piece][chunk]
    const int chunk = row_index % plan.chunks;
    const int piece = row_index / plan.chunks % plan.pieces;
    const int row = row_index / plan.chunks / plan.pieces % plan.weight_rows;
    const int group = row_index / plan.chunks / plan.pieces / plan.weight_rows;

    const int group_outputs = args.params.out_channels / args.params.groups;
    const int co = row / kCoTile * kCoTile + packed_channel<DeformSums<T, kCoTile>::kPackedColumns>(row % kCoTile);
    const int first = chunk * plan.chunk_channels + unit * kUnitElements<T>;
    const int64_t source_row = (int64_t{group} * group_outputs + co) * plan.pieces + piece;
    const T *source = args.weight + (source_row * plan.piece_channels + first) * plan.taps + tap;
    alignas(kDeformUnitBytes) T values[kUnitElements<T>] = {};
#pragma unroll
    for (int i = 0; i < kUnitElements<T>; ++i) {
        if (co < group_outputs && first + i < plan.piece_channels) {
            values[i] = source[i * plan.taps];
        }
    }
    const DeformConvSpan span = span_of(plan, piece, tap / plan.taps_per_pass * plan.taps_per_pass);
    const int step = span.first_step + chunk * span.taps + tap - span.first_tap;
    const int64_t target_row = (int64_t{group} * plan.steps + step) * plan.weight_rows + row;
    *reinterpret_cast<uint4 *>(args.workspace.weights + target_row * kDeformRowBytes + unit * kDeformUnitBytes) =
        *reinterpret_cast<const uint4 *>(values);
}

/// Copies a square of kSquarePixels pixels and kDeformRowBytes of channels. Called by a whole block.
template <typename T>
__device__ void copy_x(const DeformConvArgs<T> &args, unsigned square) {
    constexpr int kWords = kDeformRowBytes / static_cast<int>(sizeof(uint32_t));
    constexpr int kPerWord = static_cast<int>(sizeof(uint32_t) / sizeof(T));
    __shared__ uint32_t tile[kSquarePixels][kWords + 1];  // padded: both ways through it are free of bank conflicts
    const DeformConvPlan &plan = args.plan;
    const int pixels = args.params.height * args.params.width;
    const unsigned columns = (pixels + kSquarePixels - 1) / kSquarePixels;
    const int first_pixel = static_cast<int>(square % columns) * kSquarePixels;
    const unsigned rows = (plan.pixel_units + kDeformRowUnits - 1) / kDeformRowUnits;
    const int first_unit = static_cast<int>(square / columns % rows) * kDeformRowUnits;
    const int64_t image = square / columns / rows;

    const T *source = args.x + image * plan.given_image + first_pixel * plan.given_pixel;
    for (int word = warp_index(); word < kWords; word += kPrepareThreads / kWarpSize) {
        const int unit = first_unit + word / 4;
        const int piece = unit / plan.piece_units;
        const int in_piece = unit % plan.piece_units * kUnitElements<T> + word % 4 * kPerWord;
        const T *channels = source + (int64_t{piece} * plan.piece_channels + in_piece) * plan.given_channel;
        const int count = unit < plan.pixel_units ? plan.piece_channels - in_piece : 0;
#pragma unroll
        for (int pixel = lane_index(); pixel < kSquarePixels; pixel += kWarpSize) {
            alignas(sizeof(uint32_t)) T values[kPerWord] = {};
#pragma unroll
            for (int i = 0; i < kPerWord; ++i) {
                if (i < count && first_pixel + pixel < pixels) {
                    values[i] = channels[i * plan.given_channel + pixel * plan.given_pixel];
                }
            }
            tile[pixel][word] = *reinterpret_cast<const uint32_t *>(values);
        }
    }
    __syncthreads();
    uint4 *target = reinterpret_cast<uint4 *>(args.workspace.x) + image * plan.x_units +
                    int64_t{first_pixel} * plan.pixel_units + first_unit;
    for (int i = thread_index(); i < kSquarePixels * kDeformRowUnits; i += kPrepareThreads) {
        const int pixel = i / kDeformRowUnits;
        const int unit = i % kDeformRowUnits;
        if (first_pixel + pixel < pixels && first_unit + unit < plan.pixel_units) {
            const uint32_t *words = &tile[pixel][4 * unit];
            target[int64_t{pixel} * plan.pixel_units + unit] = {words[0], words[1], words[2], words[3]};
        }
    }
}

/// Threads that pack_weights needs, and blocks that copy_x needs.
inline int64_t weight_units(const DeformConvParams &params, const DeformConvPlan &plan) {
    return int64_t{plan.steps} * params.groups * plan.weight_rows * kDeformRowUnits;
}
inline int64_t x_squares(const DeformConvParams &params, const DeformConvPlan &plan) {
    const int64_t pixels = int64_t{params.height} * params.width;
    return (pixels + kSquarePixels - 1) / kSquarePixels * ((plan.pixel_units + kDeformRowUnits - 1) / kDeformRowUnits) *
           params.batch;
}

template <typename T, int kCoTile>
__global__ void __launch_bounds__(kPrepareThreads)
    prepare_deform_conv_kernel(const __grid_constant__ DeformConvArgs<T> args, unsigned units, unsigned num_tickets) {
    const unsigned weight_blocks = (units + kPrepareThreads - 1) / kPrepareThreads;
    if (blockIdx.x >= weight_blocks) {
        copy_x(args, blockIdx.x - weight_blocks);
        return;
    }
    const unsigned index = blockIdx.x * kPrepareThreads + threadIdx.x;
    if (index < num_tickets) {  // fewer than units
        args.workspace.tickets[index] = 0;
    }
    if (index < units) {
        pack_weights<T, kCoTile>(args, index);
    }
}

}  // namespace retinaface
