#pragma once

#include <type_traits>

#include "ops/cuda/common/mma.cuh"
#include "ops/cuda/common/scalar.cuh"
#include "ops/cuda/common/warp.cuh"
#include "ops/cuda/deform_conv/arguments.cuh"
#include "ops/cuda/deform_conv/wgmma.cuh"

// The sums of a block's 64 pixels x kCoTile output channels, spread over its threads. Both operands lie in shared
// memory as rows of kDeformRowBytes, swizzled: samples by pixel, weights by packed output channel. Which class computes
// them is a matter of the architecture, so every image of a kernel in a library has its own, and the launcher need not
// know.

namespace retinaface {

/// Sums in the register layout of mma.m16n8: kRows rows of 16 pixels x kColumns columns of 8 packed channels for each
/// warp. kWarpsAcross warps divide the channels.
template <int kRows, int kColumns>
class MatrixSums {
  public:
    static constexpr int kVectors = kRows * kColumns;
    static constexpr int kPackedColumns = kColumns;

    float vectors[kVectors][4] = {};

  protected:
    /// Calls function(pixel, channel, sums) for each run of consecutive output channels of a pixel.
    template <typename Function>
    __device__ void for_each_run(int first_pixel, int first_channel, const Function &function) const {
        constexpr int kRun = 2 * kColumns;
        const int lane = lane_index();
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
                function(first_pixel + m * 16 + half * 8 + lane / 4, first_channel + lane % 4 * kRun, run);
            }
        }
    }
};

constexpr int kMatrixRows = 16;    // of a product, pixels
constexpr int kMatrixColumns = 8;  // output channels

/// Rows of sums of a warp. It multiplies whole pairs of columns.
constexpr int warp_rows(int co_tile) {
    return co_tile == 256 ? 2 : 1;
}
/// Warps that divide the output channels; the others divide the pixels.
constexpr int warps_across(int co_tile) {
    return kDeformThreads / kWarpSize / (kDeformTilePixels / kMatrixRows / warp_rows(co_tile));
}
constexpr int warp_columns(int co_tile) {
    return co_tile / kMatrixColumns / warps_across(co_tile);
}

/// With mma.sync: 16-bit values as they are, float32 in three products of TF32 (mma.cuh).
template <typename T, int kCoTile>
class WarpSums : public MatrixSums<warp_rows(kCoTile), warp_columns(kCoTile)> {
    static constexpr int kRows = warp_rows(kCoTile);
    static constexpr int kColumns = warp_columns(kCoTile);
    static constexpr int kAcross = warps_across(kCoTile);
    static_assert(kColumns % 2 == 0);

  public:
    static constexpr bool kAsynchronous = false;
    // Parts of a step that are unrolled, as far as the registers allow: float32's factors have two parts of their own,
    // and the compiler takes more for sm_100.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 1000
    static constexpr int kPartsAtOnce = sizeof(T) == 4 || kCoTile == 256 ? 1 : kDeformRowUnits / 2;
#else
    static constexpr int kPartsAtOnce = sizeof(T) == 4 ? 1 : kDeformRowUnits / 2;
#endif

    __device__ void finish_step() {}

    /// Multiplies part `k` of four of the rows. Lanes 8 m to 8 m + 7 give the addresses of the m-th matrix that an
    /// instruction loads: for samples rows 0 to 7 and 8 to 15 of the first unit, then of the second; for weights the
    /// first and second unit of one column, then of the next.
    __device__ void multiply(uint32_t samples, uint32_t weights, int k) {
        const int lane = lane_index(), matrix = lane / 8;
        const uint32_t row = samples + swizzled(pixel() + matrix % 2 * 8 + lane % 8, matrix / 2 + 2 * k);
        const uint32_t column = weights + swizzled(channel() + matrix / 2 * 8 + lane % 8, matrix % 2 + 2 * k);
        Factor<T> rows[kRows];
#pragma unroll
        for (int m = 0; m < kRows; ++m) {
            rows[m] = Factor<T>(load_matrices(row + m * 16 * kDeformRowBytes));
        }
#pragma unroll
        for (int n = 0; n < kColumns; n += 2) {
            const Factor<T> pair(load_matrices(column + n * 8 * kDeformRowBytes));
#pragma unroll
            for (int m = 0; m < kRows; ++m) {
                multiply_add<T>(this->vectors[m * kColumns + n], rows[m], pair, 0);
                multiply_add<T>(this->vectors[m * kColumns + n + 1], rows[m], pair, 1);
            }
        }
    }

    template <typename Function>
    __device__ void for_each_run(const Function &function) const {
        MatrixSums<kRows, kColumns>::for_each_run(pixel(), channel(), function);
    }

  private:
    static __device__ int pixel() { return warp_index() / kAcross * kRows * kMatrixRows; }
    static __device__ int channel() { return warp_index() % kAcross * kColumns * kMatrixColumns; }
};

#ifdef RF_HAS_WGMMA
/// With Hopper's wgmma, which reads both operands from shared memory by itself, while the warps gather. The four warps
/// of a warpgroup divide the pixels, four warpgroups the output channels.
template <typename T, int kCoTile>
class WarpgroupSums : public MatrixSums<1, kCoTile / 32> {
    static constexpr int kColumns = kCoTile / 32;

  public:
    static constexpr bool kAsynchronous = true;

    /// Starts multiplying a step. The sums and the shared memory must not be touched before finish_step.
    __device__ void start(uint32_t samples, uint32_t weights) {
        begin_wgmma();
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            wgmma<T, kColumns>(this->vectors, matrix_descriptor(samples) + 2 * k,
                               matrix_descriptor(weights + channel() * kDeformRowBytes) + 2 * k);
        }
        end_wgmma();
    }

    __device__ void finish_step() {
        wait_for_wgmma();
#pragma unroll
        for (auto &vector : this->vectors) {
            keep_behind_wait(vector);
        }
        publish_to_async_proxy();
    }

    template <typename Function>
    __device__ void for_each_run(const Function &function) const {
        MatrixSums<1, kColumns>::for_each_run(warp_index() % 4 * 16, channel(), function);
    }

  private:
    // The same for the whole warp, as the compiler must know.
    static __device__ int channel() { return __shfl_sync(kFullMask, warp_index() / 4, 0) * kColumns * 8; }
};
#endif

/// With float32 FMA, for the types that the tensor cores of Turing do not have.
template <typename T, int kCoTile>
class FmaSums {
    static constexpr int kPixels = 8;
    static constexpr int kChannels = kCoTile / 64;
    static constexpr int kElements = 4;  // that are multiplied at once
    static constexpr int kBytes = kElements * static_cast<int>(sizeof(T));

  public:
    static constexpr bool kAsynchronous = false;
    static constexpr int kPartsAtOnce = 1;
    static constexpr int kVectors = kPixels * kChannels / 4;
    static constexpr int kPackedColumns = 1;  // the order of the output channels

    __device__ void finish_step() {}

    __device__ void multiply(uint32_t samples, uint32_t weights, int k) {
#pragma unroll 1
        for (int byte = 0; byte < 2 * kDeformUnitBytes; byte += kBytes) {
            const int unit = 2 * k + byte / kDeformUnitBytes, in_unit = byte % kDeformUnitBytes;
            float factors[kChannels][kElements];
#pragma unroll
            for (int n = 0; n < kChannels; ++n) {
                load(weights + swizzled(row(n), unit) + in_unit, factors[n]);
            }
#pragma unroll
            for (int m = 0; m < kPixels; ++m) {
                float values[kElements];
                load(samples + swizzled(pixel(m), unit) + in_unit, values);
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
                function(pixel(m), packed_channel<kPackedColumns>(row(n)), run);
            }
        }
    }

    float vectors[kVectors][4] = {};

  private:
    static __device__ int pixel(int m) { return thread_index() % 8 + 8 * m; }
    static __device__ int row(int n) { return thread_index() / 8 + 64 * n; }

    static __device__ void load(uint32_t address, float (&values)[kElements]) {
        const void *source = __cvta_shared_to_generic(address);
        float4 loaded;
        if constexpr (sizeof(T) == 4) {
            loaded = *static_cast<const float4 *>(source);
        } else {
            const uint2 words = *static_cast<const uint2 *>(source);
            const float2 first = unpack<T>(words.x), last = unpack<T>(words.y);
            loaded = {first.x, first.y, last.x, last.y};
        }
        values[0] = loaded.x;
        values[1] = loaded.y;
        values[2] = loaded.z;
        values[3] = loaded.w;
    }
};

template <typename T, int kCoTile>
#if defined(RF_HAS_WGMMA)
using DeformSums = std::conditional_t<sizeof(T) == 2, WarpgroupSums<T, kCoTile>, WarpSums<T, kCoTile>>;
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
using DeformSums = std::conditional_t<std::is_same_v<T, __half>, WarpSums<T, kCoTile>, FmaSums<T, kCoTile>>;
#else
using DeformSums = WarpSums<T, kCoTile>;
#endif

}  // namespace retinaface
