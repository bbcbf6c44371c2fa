#pragma once

#include "ops/cuda/common/rounding.cuh"
#include "ops/cuda/deform_conv/gather.cuh"

namespace retinaface {

/// Blocks that fit into a multiprocessor's shared memory: two on sm_80 and sm_90. Elsewhere one, which may use all
/// registers.
#if defined(__CUDA_ARCH__) && (__CUDA_ARCH__ == 800 || __CUDA_ARCH__ == 900)
constexpr int kDeformResidentBlocks = 2;
#else
constexpr int kDeformResidentBlocks = 1;
#endif

/// Where the weights of one step are. Sample k of a tile belongs to channel k / taps of the chunk and tap k % taps of
/// the pass. Weights keep their ONNX layout [Co, Ci / groups, kh, kw]. If a pass covers the whole kernel, a step's
/// weights of one output channel are `count` consecutive elements from `begin`. Otherwise element `begin` + `index[k]`
/// is the weight of sample k (only for instances with kTaps = 0).
struct WeightSpan {
    int64_t begin;
    int count;
    const int *index;
};

/// Deformable convolution of one tile of output pixels and a range of output channels as an implicit matrix product,
/// [pixels] x [channel, tap] x [output channels], in steps of Multiplier::kChannels channels.
///
/// A software pipeline with double buffers and one barrier per step: it stages the window of step i + 2, gathers the
/// samples of step i + 1 and multiplies the samples of step i. Half of the warps multiply first and the other half
/// gather first, so that matrix units and load units work at the same time even if only one block is resident.
template <typename Multiplier>
__global__ void __launch_bounds__(kDeformThreads, Multiplier::kResidentBlocks)
    deform_conv_kernel(const __grid_constant__ DeformConvArgs<typename Multiplier::Element> args) {
    extern __shared__ __align__(128) unsigned char shared[];
    constexpr int kChannels = Multiplier::kChannels;
    const DeformConvParams &p = args.params;
    // Compile-time constants in the instances for one kernel size.
    constexpr int kTaps = Multiplier::kKernelTaps;
    const int kernel_taps = kTaps > 0 ? kTaps : p.kernel_h * p.kernel_w;
    const int taps_per_pass = kTaps > 0 ? kTaps : args.plan.taps_per_pass;
    const int group_inputs = p.in_channels / p.groups;
    const int offset_group_inputs = p.in_channels / p.offset_groups;
    const int co_tiles = (p.out_channels / p.groups + Multiplier::kCoTile - 1) / Multiplier::kCoTile;
    const int group = static_cast<int>(blockIdx.y) / co_tiles;
    const bool multiply_first = thread_index() >= kDeformThreads / 2;

    DeformGather<typename Multiplier::Element, kChannels> gather(args, shared);
    Multiplier multiplier(args, group, static_cast<int>(blockIdx.y) % co_tiles);
    int *weight_index = reinterpret_cast<int *>(shared + args.plan.weight_index_at);
    gather.locate_window();

    // The channels of this group, one offset group after the other. Either kind of group may be the smaller.
    const int group_end = (group + 1) * group_inputs;
    for (int first = group * group_inputs, end; first < group_end; first = end) {
        const int offset_group = first / offset_group_inputs;
        end = min(group_end, (offset_group + 1) * offset_group_inputs);
        const int steps = (end - first + kChannels - 1) / kChannels;

        for (int first_tap = 0; first_tap < kernel_taps; first_tap += taps_per_pass) {
            const int taps = min(taps_per_pass, kernel_taps - first_tap);
            if constexpr (kTaps == 0) {
                for (int k = thread_index(); k < taps * kChannels; k += kDeformThreads) {
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
                        multiplier.fill_tile(gather, chunk_of(step + 1), (step + 1) & 1, taps, tile_of(step + 1));
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
