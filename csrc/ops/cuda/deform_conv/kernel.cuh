#pragma once

#include "ops/cuda/common/rounding.cuh"
#include "ops/cuda/deform_conv/gather.cuh"

namespace retinaface {

/// Blocks that a multiprocessor has shared memory for: two on 8.0 and 9.0, elsewhere one, which may
/// then have all the registers.
#if defined(__CUDA_ARCH__) && (__CUDA_ARCH__ == 800 || __CUDA_ARCH__ == 900)
constexpr int kDeformResidentBlocks = 2;
#else
constexpr int kDeformResidentBlocks = 1;
#endif

/// Where the weights of one step lie. Sample k of a tile belongs to channel k / taps of the chunk and tap
/// k % taps of the pass. Weights keep their ONNX layout [Co, Ci / groups, kh, kw]; where a pass covers the
/// whole kernel, a step's weights of one output channel are `count` neighbours from `begin`; else
/// `index[k]` says where they are (filled for instances without a kernel size of their own).
struct WeightSpan {
    int64_t begin;
    int count;
    const int *index;
};

/// Deformable convolution of one tile of output pixels and a range of output channels as an implicit matrix
/// product, [pixels] x [channel, tap] x [output channels], in steps of Multiplier::kChannels channels.
///
/// Three things go on at a time, each on one half of a double buffer: the window of step i + 2 is staged,
/// samples of step i + 1 are gathered, samples of step i are multiplied. One barrier per step. Half of the
/// warps multiply before they gather, so that the matrix units and the others work together even where one
/// block fills a multiprocessor.
template <typename Multiplier>
__global__ void __launch_bounds__(kDeformThreads, Multiplier::kResidentBlocks)
    deform_conv_kernel(const __grid_constant__ DeformConvArgs<typename Multiplier::Element> args) {
    extern __shared__ __align__(128) unsigned char shared[];
    constexpr int kChannels = Multiplier::kChannels;
    const DeformConvParams &p = args.p;
    // Constants for the kernel size that has its own instance.
    constexpr int kTaps = Multiplier::kKernelTaps;
    const int kernel_taps = kTaps > 0 ? kTaps : p.kernel_h * p.kernel_w;
    const int taps_per_pass = kTaps > 0 ? kTaps : args.plan.taps_per_pass;
    const int group_inputs = p.in_channels / p.groups;
    const int offset_group_inputs = p.in_channels / p.offset_groups;
    const int co_tiles = (p.out_channels / p.groups + Multiplier::kCoTile - 1) / Multiplier::kCoTile;
    const int group = static_cast<int>(blockIdx.y) / co_tiles;
    const bool multiply_first = threadIdx.x >= kDeformThreads / 2;

    DeformGather<typename Multiplier::Element, kChannels> gather(args, shared);
    Multiplier multiplier(args, group, static_cast<int>(blockIdx.y) % co_tiles);
    int *weight_index = reinterpret_cast<int *>(shared + args.plan.weight_index_at);
    gather.locate_window();

    // Channels of this group, offset group by offset group (either kind may be the finer one).
    const int group_end = (group + 1) * group_inputs;
    for (int first = group * group_inputs, end; first < group_end; first = end) {
        const int offset_group = first / offset_group_inputs;
        end = min(group_end, (offset_group + 1) * offset_group_inputs);
        const int steps = (end - first + kChannels - 1) / kChannels;

        for (int first_tap = 0; first_tap < kernel_taps; first_tap += taps_per_pass) {
            const int taps = min(taps_per_pass, kernel_taps - first_tap);
            if constexpr (kTaps == 0) {
                for (int k = static_cast<int>(threadIdx.x); k < taps * kChannels; k += kDeformThreads) {
                    weight_index[k] = k / taps * kernel_taps + k % taps;
                }
            }
            gather.locate_samples(offset_group, first_tap, taps);

            auto chunk_of = [&](int step) {
                return ChannelChunk{first + step * kChannels, min(kChannels, end - first - step * kChannels)};
            };
            auto tile_of = [&](int step) { return shared + args.plan.tiles_at + (step & 1) * args.plan.tile_bytes; };
#pragma unroll 1
            for (int step = -2; step < steps; ++step) {
#pragma unroll 1
                for (int turn = 0; turn < 2; ++turn) {
                    if ((turn == 0) == multiply_first) {
                        if (step >= 0) {
                            ChannelChunk chunk = chunk_of(step);
                            int64_t channel = chunk.first - group * group_inputs;
                            multiplier.multiply(tile_of(step), taps,
                                                {channel * kernel_taps + first_tap, chunk.count * taps, weight_index});
                        }
                        continue;
                    }
                    if (step + 2 < steps) {
                        gather.stage(chunk_of(step + 2), step & 1);
                    }
                    if (step >= -1 && step + 1 < steps) {
                        multiplier.gather(gather, chunk_of(step + 1), (step + 1) & 1, taps, tile_of(step + 1));
                    }
                }
                gather.finish_staging();
                __syncthreads();
            }
        }
    }
    multiplier.store(gather);
}

}  // namespace retinaface
