#pragma once

#include "ops/cuda/common/mma.cuh"
#include "ops/cuda/common/scalar.cuh"
#include "ops/cuda/common/warp.cuh"
#include "ops/cuda/deform_conv/arguments.cuh"

// The sums of a block's 64 pixels x kCoTile output channels, spread over its threads. Both operands lie in shared memory
// as rows of kDeformRowBytes, swizzled: samples by pixel, weights by packed output channel.

namespace retinaface {

/// On the tensor cores: 16-bit values as they are, float32 in three products of TF32 (mma.cuh).
template <typename T, int kCoTile>
class TensorCoreSums {
    static constexpr int kWarpsAcross = 4;  // of output channels; two warps divide the pixels
    static constexpr int kRows = 2;         // of 16 pixels
    static constexpr int kColumns = kDeformColumns<kCoTile>;

  public:
    static constexpr int kVectors = kRows * kColumns;
    static constexpr int kRun = 2 * kColumns;  // consecutive channels of a thread

    /// Multiplies part `k` of four of the rows. Lanes 8 m to 8 m + 7 give the addresses of the m-th matrix that an
    /// instruction loads: for samples rows 0 to 7 and 8 to 15 of the first unit, then of the second; for weights the
    /// first and second unit of one column, then of the next.
    __device__ void multiply(const unsigned char *samples, const unsigned char *weights, int k) {
        const int lane = lane_index(), matrix = lane / 8;
        const int row = warp_index() / kWarpsAcross * kRows * 16 + matrix % 2 * 8 + lane % 8;
        const int column = warp_index() % kWarpsAcross * kColumns * 8 + matrix / 2 * 8 + lane % 8;
        const uint32_t sample_row = shared_address(samples + swizzled(row, matrix / 2 + 2 * k));
        const uint32_t weight_row = shared_address(weights + swizzled(column, matrix % 2 + 2 * k));
        Factor<T> rows[kRows];
#pragma unroll
        for (int m = 0; m < kRows; ++m) {
            rows[m] = Factor<T>(load_matrices(sample_row + m * 16 * kDeformRowBytes));
        }
#pragma unroll
        for (int n = 0; n < kColumns; n += 2) {
            const Factor<T> pair(load_matrices(weight_row + n * 8 * kDeformRowBytes));
#pragma unroll
            for (int m = 0; m < kRows; ++m) {
                multiply_add<T>(vectors[m * kColumns + n], rows[m], pair, 0);
                multiply_add<T>(vectors[m * kColumns + n + 1], rows[m], pair, 1);
            }
        }
    }

    /// Calls function(pixel, channel, sums) for each run of consecutive output channels of a pixel of the tile.
    template <typename Function>
    __device__ void for_each_run(const Function &function) const {
        const int lane = lane_index();
        const int channel = warp_index() % kWarpsAcross * kColumns * 8 + lane % 4 * kRun;
#pragma unroll
        for (int m = 0; m < kRows; ++m) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float run[kRun];
#pragma unroll
                for (int n = 0; n < kColumns; ++n) {
                    run[2 * n] = vectors[m * kColumns + n][2 * half];
                    run[2 * n + 1] = vectors[m * kColumns + n][2 * half + 1];
                }
                function((warp_index() / kWarpsAcross * kRows + m) * 16 + half * 8 + lane / 4, channel, run);
            }
        }
    }

    float vectors[kVectors][4] = {};
};

/// With float32 FMA, for the types that the tensor cores of Turing do not have.
template <typename T, int kCoTile>
class FmaSums {
    static constexpr int kPixels = 8;
    static constexpr int kChannels = kCoTile / 32;
    static constexpr int kElements = kDeformUnitBytes / static_cast<int>(sizeof(T));

  public:
    static constexpr int kVectors = kPixels * kChannels / 4;
    static constexpr int kRun = 1;

    __device__ void multiply(const unsigned char *samples, const unsigned char *weights, int k) {
#pragma unroll 1
        for (int unit = 2 * k; unit < 2 * k + 2; ++unit) {
            float factors[kChannels][kElements];
#pragma unroll
            for (int n = 0; n < kChannels; ++n) {
                load_unit(weights + swizzled(row(n), unit), factors[n]);
            }
#pragma unroll
            for (int m = 0; m < kPixels; ++m) {
                float values[kElements];
                load_unit(samples + swizzled(pixel(m), unit), values);
#pragma unroll
                for (int n = 0; n < kChannels; ++n) {
                    float &sum = vectors[(m * kChannels + n) / 4][(m * kChannels + n) % 4];
#pragma unroll
                    for (int i = 0; i < kElements; ++i) {
                        sum = fmaf(values[i], factors[n][i], sum);
                    }
                }
            }
        }
    }

    template <typename Function>
    __device__ void for_each_run(const Function &function) const {
#pragma unroll
        for (int m = 0; m < kPixels; ++m) {
#pragma unroll
            for (int n = 0; n < kChannels; ++n) {
                const float run[] = {vectors[(m * kChannels + n) / 4][(m * kChannels + n) % 4]};
                function(pixel(m), packed_channel<kCoTile>(row(n)), run);
            }
        }
    }

    float vectors[kVectors][4] = {};

  private:
    static __device__ int pixel(int m) { return thread_index() % 8 + 8 * m; }
    static __device__ int row(int n) { return thread_index() / 8 + 32 * n; }

    static __device__ void load_unit(const unsigned char *source, float (&values)[kElements]) {
        const uint4 unit = *reinterpret_cast<const uint4 *>(source);
        const uint32_t words[] = {unit.x, unit.y, unit.z, unit.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            if constexpr (sizeof(T) == 4) {
                values[i] = __uint_as_float(words[i]);
            } else {
                const float2 pair = unpack<T>(words[i]);
                values[2 * i] = pair.x;
                values[2 * i + 1] = pair.y;
            }
        }
    }
};

}  // namespace retinaface
