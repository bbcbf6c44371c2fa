#pragma once

#include <type_traits>

#include "ops/cuda/common/mma.cuh"
#include "ops/cuda/deform_conv/kernel.cuh"

namespace retinaface {

/// Calls function(std::integral_constant<int, i>) for i in [0, kCount).
template <int kCount, typename Function>
__device__ __forceinline__ void for_constants(Function &&function) {
    if constexpr (kCount > 0) {
        for_constants<kCount - 1>(function);
        function(std::integral_constant<int, kCount - 1>{});
    }
}

/// Multiplies 16-bit samples on the tensor cores, in steps of 16 channels. kWarpsM warps divide the pixels, 8 / kWarpsM
/// warps the output channels, 32 each. kTaps > 0: kernels with this number of taps, whose weights can be loaded four
/// at a time; 0: all others.
///
/// The order of k within a matrix instruction is free if both operands use the same. Here lane t of a row's four takes
/// samples 4t to 4t + 3 of each 16. So its weights are 8 consecutive bytes in the ONNX layout, which it loads from
/// global memory to registers without packing. Shared memory would save little: only kWarpsM warps read the same ones.
/// A row of the tile therefore has two planes, one with the first and one with the second pair of every four samples,
/// in which ldmatrix finds its 16-byte rows. The pitch of the rows is an odd multiple of 16 bytes: no bank conflicts.
///
/// The order of output channels is free too. It gives each lane 8 consecutive channels, one 16-byte store in
/// channels-last layout.
template <typename T, int kTaps, int kWarpsM>
class DeformMma {
    static constexpr int kWarpsN = kDeformThreads / kWarpSize / kWarpsM;
    static constexpr int kRows = kDeformTilePixels / kWarpsM / 16;  // 16-pixel tiles per warp
    static constexpr int kColumns = 4;                              // 8-channel tiles per warp

  public:
    using Element = T;
    static constexpr int kKernelTaps = kTaps;
    static constexpr int kChannels = 16;
    // The widest instance needs more than the 128 registers per thread that two resident blocks would leave.
    static constexpr int kResidentBlocks = kWarpsM == 1 ? 1 : kDeformResidentBlocks;
    static constexpr int kCoTile = kWarpsN * kColumns * 8;

    static constexpr int row_bytes(int taps) { return taps * kChannels * static_cast<int>(sizeof(T)) + 16; }
    static constexpr DeformConvFootprint footprint(int taps) {
        return {kChannels, kChannels * static_cast<int>(sizeof(T)), kDeformTilePixels * row_bytes(taps)};
    }

    __device__ DeformMma(const DeformConvArgs<T> &args, int group, int co_tile) : args_(args) {
        const int warp = warp_index();
        const int lane = lane_index();
        const int group_outputs = args.params.out_channels / args.params.groups;
        co_end_ = (group + 1) * group_outputs;
        co_ = group * group_outputs + co_tile * kCoTile + warp % kWarpsN * kColumns * 8;
        if constexpr (kTaps > 0) {
            // The output channel whose weights this lane loads for the first column tile; for each further tile it
            // is two channels further. Past the end the last eight are used again; their results are not stored.
            const int co = min(co_ + lane / 8 * 8, co_end_ - 8) + lane / 4 % 2;
            weights_ = args.weight + co * args.plan.weight_depth + lane % 4 * 4;
        }
    }

    template <typename Gather>
    __device__ void fill_tile(const Gather &gather, ChannelChunk chunk, int buffer, int taps,
                              unsigned char *tile) const {
        const int pixel = thread_index() / kDeformPieces;
        const int piece = thread_index() % kDeformPieces;
        if constexpr (kTaps > 0) {
            taps = kTaps;
        }
        const int plane = taps * kChannels;  // bytes: half of the samples
        unsigned char *row = tile + pixel * row_bytes(taps) + piece * taps * 4;
        // k is relative to the piece's first sample, whose index is a multiple of 4.
        auto place = [&](int k) { return row + k / 2 % 2 * plane + k / 4 * 4 + k % 2 * 2; };
        auto put_alone = [&](int tap, int c, float value) {
            *reinterpret_cast<T *>(place(c * taps + tap)) = from_float<T>(value);
        };
        if constexpr (kTaps > 0) {
            float samples[kTaps * Gather::kPieceChannels];
            auto put_pairs = [&](int tap, int c, float value) {
                const int k = c * kTaps + tap;
                samples[k] = value;
                if ((k ^ 1) % kTaps < tap) {  // the other sample of the pair is known: store both
                    *reinterpret_cast<uint32_t *>(place(k & ~1)) = pack<T>(samples[k & ~1], samples[k | 1]);
                }
            };
            gather.template sample<kTaps>(chunk, buffer, taps, put_pairs, put_alone);
        } else {
            gather.template sample<0>(chunk, buffer, taps, put_alone, put_alone);
        }
    }

    __device__ void multiply(const unsigned char *tile, int taps, const WeightSpan &weights) {
        if (co_ >= co_end_) {
            return;
        }
        if constexpr (kTaps > 0) {
            taps = kTaps;
        }
        const int lane = lane_index();
        const unsigned char *rows =
            tile + (first_pixel() + lane % 16) * row_bytes(taps) + lane / 16 * (taps * kChannels);
        uint2 current[kColumns];
        uint2 next[kColumns];
        if constexpr (kTaps > 0) {
            const T *step_weights = weights_ + weights.begin;
            load_weights(step_weights, 0, next);
            for_constants<kTaps>([&](auto step) {
                copy(next, current);
                if constexpr (step + 1 < kTaps) {
                    load_weights(step_weights, (step + 1) * 16, next);
                }
                for_constants<kRows>(
                    [&](auto m) { multiply_row<step * 16 + m * 16 * row_bytes(kTaps)>(rows, current, sums_[m]); });
            });
        } else {
            load_weights(weights, 0, next);
#pragma unroll 1
            for (int k = 0; k < weights.count; k += 16) {
                copy(next, current);
                if (k + 16 < weights.count) {
                    load_weights(weights, k + 16, next);
                }
#pragma unroll
                for (int m = 0; m < kRows; ++m) {
                    multiply_row<0>(rows + m * 16 * row_bytes(taps) + k, current, sums_[m]);
                }
            }
        }
    }

    template <typename Gather>
    __device__ void store(const Gather &gather) const {
        const int lane = lane_index();
        const int first = co_ + lane % 4 * 8;
        // The lane that stores the last channel also zeroes the padding of channels-last.
        const bool is_last = co_end_ == args_.params.out_channels && first + 8 >= co_end_;
        float bias[8];
#pragma unroll
        for (int c = 0; c < 8; ++c) {
            bias[c] = args_.bias == nullptr || first + c >= co_end_ ? 0.0f : to_float(args_.bias[first + c]);
        }
        T *image = args_.y + gather.image() * args_.plan.y_image;
#pragma unroll
        for (int m = 0; m < kRows * 2; ++m) {
            int pixel = gather.output_pixel(first_pixel() + m * 8 + lane / 4);
            if (pixel < 0 || first >= co_end_) {
                continue;
            }
            alignas(16) T values[8];
#pragma unroll
            for (int c = 0; c < 8; ++c) {
                float sum = sums_[m / 2][c / 2][m % 2 * 2 + c % 2] + bias[c];
                values[c] = from_float<T>(first + c < co_end_ ? sum : 0.0f);
            }
            T *target = image + pixel * args_.plan.y_pixel + first * args_.plan.y_channel;
            if (args_.params.layout == Layout::kHwc8 && first % 8 == 0 && (first + 8 <= co_end_ || is_last)) {
                *reinterpret_cast<uint4 *>(target) = *reinterpret_cast<const uint4 *>(values);
            } else {
#pragma unroll
                for (int c = 0; c < 8; ++c) {
                    if (first + c < co_end_) {
                        target[c * args_.plan.y_channel] = values[c];
                    }
                }
                for (int64_t co = co_end_; is_last && co < args_.plan.y_pixel; ++co) {
                    target[co - first] = from_float<T>(0.0f);
                }
            }
        }
    }

  private:
    static __device__ int first_pixel() { return warp_index() / kWarpsN * kRows * 16; }

    template <int kOffset>
    static __device__ void multiply_row(const unsigned char *row, const uint2 (&weights)[kColumns],
                                        float (&sums)[kColumns][4]) {
        uint4 samples = load_matrices<kOffset>(row);
#pragma unroll
        for (int n = 0; n < kColumns; ++n) {
            multiply_add<T>(sums[n], samples, weights[n]);
        }
    }

    static __device__ void copy(const uint2 (&from)[kColumns], uint2 (&to)[kColumns]) {
#pragma unroll
        for (int n = 0; n < kColumns; ++n) {
            to[n] = from[n];
        }
    }

    /// Loads the weights of 16 samples, kTaps > 0: eight consecutive bytes of each channel.
    __device__ void load_weights(const T *first, int k, uint2 (&result)[kColumns]) const {
#pragma unroll
        for (int n = 0; n < kColumns; ++n) {
            result[n] = *reinterpret_cast<const uint2 *>(first + 2 * n * args_.plan.weight_depth + k);
        }
    }

    /// Loads them one by one, for any kernel.
    __device__ void load_weights(const WeightSpan &weights, int k, uint2 (&result)[kColumns]) const {
        const int lane = lane_index();
        k += lane % 4 * 4;
#pragma unroll
        for (int n = 0; n < kColumns; ++n) {
            int co = min(co_ + lane / 8 * 8 + 2 * n + lane / 4 % 2, co_end_ - 1);
            const T *row = args_.weight + co * args_.plan.weight_depth + weights.begin;
            alignas(8) T values[4] = {};
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                if (k + i < weights.count) {
                    values[i] = row[weights.index[k + i]];
                }
            }
            result[n] = *reinterpret_cast<const uint2 *>(values);
        }
    }

    const DeformConvArgs<T> &args_;
    const T *weights_ = nullptr;  // of this lane's channel, if kTaps > 0
    int co_, co_end_;
    float sums_[kRows][kColumns][4] = {};
};

}  // namespace retinaface
