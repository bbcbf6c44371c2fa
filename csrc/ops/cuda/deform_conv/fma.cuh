#pragma once

#include "ops/cuda/deform_conv/kernel.cuh"

namespace retinaface {

/// Multiplies with float32 FMA, in steps of 8 channels: for float32, and for bfloat16 on devices whose tensor cores do
/// not support it. A thread computes 8 pixels x kOutputs output channels; a warp covers all 64 pixels of the tile and
/// 4 * kOutputs channels. kTaps as in DeformMma.
///
/// The tile is [sample][pixel], so that a thread reads its pixels as two 16-byte vectors without bank conflicts.
/// Weights are read directly from global memory; eight lanes read the same ones.
template <typename T, int kTaps, int kOutputs>
class DeformFma {
    static constexpr int kPixels = 8;
    static constexpr int kHalfTile = kDeformTilePixels / 2;
    static constexpr int kPitch = kDeformTilePixels + 4;  // floats; keeps the stores of fill_tile conflict-free too

  public:
    using Element = T;
    static constexpr int kKernelTaps = kTaps;
    static constexpr int kChannels = 8;
    static constexpr int kResidentBlocks = kOutputs == 8 ? 1 : kDeformResidentBlocks;  // as in DeformMma
    static constexpr int kCoTile = kDeformThreads / 8 * kOutputs;

    static constexpr DeformConvFootprint footprint(int taps) {
        return {kChannels, kChannels * static_cast<int>(sizeof(T)),
                taps * kChannels * kPitch * static_cast<int>(sizeof(float))};
    }

    __device__ DeformFma(const DeformConvArgs<T> &args, int group, int co_tile) : args_(args) {
        const int group_outputs = args.params.out_channels / args.params.groups;
        co_end_ = (group + 1) * group_outputs;
        co_ = group * group_outputs + co_tile * kCoTile + thread_index() / 8 * kOutputs;
    }

    template <typename Gather>
    __device__ void fill_tile(const Gather &gather, ChannelChunk chunk, int buffer, int taps,
                              unsigned char *tile) const {
        const int pixel = thread_index() / kDeformPieces;
        const int piece = thread_index() % kDeformPieces;
        if constexpr (kTaps > 0) {
            taps = kTaps;
        }
        float *samples = reinterpret_cast<float *>(tile) + piece * Gather::kPieceChannels * taps * kPitch + pixel;
        auto put = [&](int tap, int c, float value) { samples[(c * taps + tap) * kPitch] = value; };
        gather.template sample<kTaps>(chunk, buffer, taps, put, put);
    }

    __device__ void multiply(const unsigned char *tile, int, const WeightSpan &weights) {
        if (co_ >= co_end_) {
            return;
        }
        const float *samples = reinterpret_cast<const float *>(tile) + threadIdx.x % 8 * 4;
        const T *rows[kOutputs];
#pragma unroll
        for (int n = 0; n < kOutputs; ++n) {
            // Past the end the last channel is used again; its results are not stored.
            rows[n] = args_.weight + min(co_ + n, co_end_ - 1) * args_.plan.weight_depth + weights.begin;
        }
        if constexpr (kTaps > 0) {
#pragma unroll 1
            for (int k = 0; k < kTaps * kChannels; k += 4) {
                float values[kOutputs][4];
#pragma unroll
                for (int n = 0; n < kOutputs; ++n) {
                    load_four(rows[n] + k, values[n]);
                }
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    float column[kOutputs];
#pragma unroll
                    for (int n = 0; n < kOutputs; ++n) {
                        column[n] = values[n][i];
                    }
                    multiply_add(samples + (k + i) * kPitch, column);
                }
            }
        } else {
#pragma unroll 1
            for (int k = 0; k < weights.count; ++k) {
                float column[kOutputs];
#pragma unroll
                for (int n = 0; n < kOutputs; ++n) {
                    column[n] = to_float(rows[n][weights.index[k]]);
                }
                multiply_add(samples + k * kPitch, column);
            }
        }
    }

    template <typename Gather>
    __device__ void store(const Gather &gather) const {
        T *image = args_.y + gather.image() * args_.plan.y_image;
#pragma unroll
        for (int i = 0; i < kPixels; ++i) {
            int pixel = gather.output_pixel(thread_index() % 8 * 4 + i % 4 + i / 4 * kHalfTile);
            if (pixel < 0) {
                continue;
            }
#pragma unroll
            for (int n = 0; n < kOutputs; ++n) {
                int co = co_ + n;
                if (co < co_end_) {
                    float bias = args_.bias == nullptr ? 0.0f : to_float(args_.bias[co]);
                    image[pixel * args_.plan.y_pixel + co * args_.plan.y_channel] = from_float<T>(sums_[i][n] + bias);
                }
                if (co == args_.params.out_channels - 1) {  // zero the padding of channels-last
                    for (int64_t c = co + 1; c < args_.plan.y_pixel; ++c) {
                        image[pixel * args_.plan.y_pixel + c] = from_float<T>(0.0f);
                    }
                }
            }
        }
    }

  private:
    __device__ void multiply_add(const float *samples, const float (&column)[kOutputs]) {
        float4 low = *reinterpret_cast<const float4 *>(samples);
        float4 high = *reinterpret_cast<const float4 *>(samples + kHalfTile);
        const float pixels[kPixels] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
        for (int i = 0; i < kPixels; ++i) {
#pragma unroll
            for (int n = 0; n < kOutputs; ++n) {
                sums_[i][n] = fmaf(pixels[i], column[n], sums_[i][n]);
            }
        }
    }

    const DeformConvArgs<T> &args_;
    int co_, co_end_;
    float sums_[kPixels][kOutputs] = {};
};

}  // namespace retinaface
