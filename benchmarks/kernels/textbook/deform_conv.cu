// Textbook deformable convolution, for comparison with the project's kernel. im2col writes a column buffer in
// global memory, with a thread per input channel and output pixel; a GEMM with tiles in shared memory then
// multiplies it by the weights on the tensor cores. FP16, kernel 3x3, stride 1, padding 1; coordinates in FP32.

#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <mma.h>

#include "math/deform_sample.h"

namespace {

using namespace retinaface;
using namespace nvcuda;

constexpr int kSide = 3;
constexpr int kTaps = kSide * kSide;

/// columns [N, Ci * 9, H * W]. Every channel of a pixel reads the offsets again.
__global__ void im2col_kernel(const __half *x, const __half *offset, const __half *mask, __half *columns, int channels,
                              int height, int width) {
    const int pixels = height * width;
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= channels * pixels) {
        return;
    }
    const int image = static_cast<int>(blockIdx.y), channel = i / pixels, pixel = i % pixels;
    const __half *map = x + (image * channels + channel) * pixels;
    offset += image * 2 * kTaps * pixels;
    mask += image * kTaps * pixels;
    columns += (static_cast<int64_t>(image) * channels + channel) * kTaps * pixels + pixel;
    for (int tap = 0; tap < kTaps; ++tap) {
        const float y =
            static_cast<float>(pixel / width - 1 + tap / kSide) + __half2float(offset[2 * tap * pixels + pixel]);
        const float across =
            static_cast<float>(pixel % width - 1 + tap % kSide) + __half2float(offset[(2 * tap + 1) * pixels + pixel]);
        DeformSample s;
        float value = 0.0f;
        const float scale = __half2float(mask[tap * pixels + pixel]);
        if (deform_sample(y, across, height, width, scale, s)) {
            auto at = [&](int row, int column) {
                bool inside = row >= 0 && column >= 0 && row < height && column < width;
                return inside ? __half2float(map[row * width + column]) : 0.0f;
            };
            value = s.top_left * at(s.y, s.x) + s.top_right * at(s.y, s.x + 1) + s.bottom_left * at(s.y + 1, s.x) +
                    s.bottom_right * at(s.y + 1, s.x + 1);
        }
        columns[tap * pixels] = __float2half_rn(value);
    }
}

constexpr int kTile = 64;  // output channels and pixels of a block; each of its four warps computes 32 x 32
constexpr int kDepth = 16;
constexpr int kGemmThreads = 128;

/// y [N, Co, pixels] = weight [Co, depth] * columns [N, depth, pixels] + bias. Co is a multiple of 64, pixels
/// of 8, depth of 16.
__global__ void __launch_bounds__(kGemmThreads)
    gemm_kernel(const __half *weight, const __half *columns, const __half *bias, __half *y, int outputs, int depth,
                int pixels) {
    __shared__ __align__(32) __half a[kTile][kDepth];
    __shared__ __align__(32) __half b[kDepth][kTile];
    __shared__ __align__(32) float c[kTile][kTile];
    const int thread = static_cast<int>(threadIdx.x), warp = thread / 32;
    const int first_pixel = static_cast<int>(blockIdx.x) * kTile, first_output = static_cast<int>(blockIdx.y) * kTile;
    columns += static_cast<int64_t>(blockIdx.z) * depth * pixels;
    y += static_cast<int64_t>(blockIdx.z) * outputs * pixels;

    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sums[2][2];
    for (auto &row : sums) {
        for (auto &sum : row) {
            wmma::fill_fragment(sum, 0.0f);
        }
    }
    for (int k = 0; k < depth; k += kDepth) {
        // Each thread copies eight consecutive elements of each matrix.
        *reinterpret_cast<uint4 *>(&a[thread / 2][thread % 2 * 8]) =
            *reinterpret_cast<const uint4 *>(&weight[(first_output + thread / 2) * depth + k + thread % 2 * 8]);
        const int pixel = first_pixel + thread % 8 * 8;
        *reinterpret_cast<uint4 *>(&b[thread / 8][thread % 8 * 8]) =
            pixel < pixels ? *reinterpret_cast<const uint4 *>(&columns[(k + thread / 8) * pixels + pixel]) : uint4{};
        __syncthreads();
        wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::row_major> right[2];
        for (int n = 0; n < 2; ++n) {
            wmma::load_matrix_sync(right[n], &b[0][warp % 2 * 32 + n * 16], kTile);
        }
        for (int m = 0; m < 2; ++m) {
            wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> left;
            wmma::load_matrix_sync(left, &a[warp / 2 * 32 + m * 16][0], kDepth);
            for (int n = 0; n < 2; ++n) {
                wmma::mma_sync(sums[m][n], left, right[n], sums[m][n]);
            }
        }
        __syncthreads();
    }
    for (int m = 0; m < 2; ++m) {
        for (int n = 0; n < 2; ++n) {
            wmma::store_matrix_sync(&c[warp / 2 * 32 + m * 16][warp % 2 * 32 + n * 16], sums[m][n], kTile,
                                    wmma::mem_row_major);
        }
    }
    __syncthreads();
    for (int i = thread; i < kTile * kTile; i += kGemmThreads) {
        const int output = first_output + i / kTile, pixel = first_pixel + i % kTile;
        if (pixel < pixels) {
            y[output * pixels + pixel] = __float2half_rn(c[i / kTile][i % kTile] + __half2float(bias[output]));
        }
    }
}

}  // namespace

/// `shape` is images, input channels, output channels, height, width; columns [N, Ci * 9, H * W].
extern "C" __attribute__((visibility("default"))) int textbook_deform_conv(const void *x, const void *weight,
                                                                           const void *offset, const void *bias,
                                                                           const void *mask, void *columns, void *y,
                                                                           const int *shape) {
    const int images = shape[0], channels = shape[1], outputs = shape[2], pixels = shape[3] * shape[4];
    constexpr int kThreads = 256;
    im2col_kernel<<<dim3((channels * pixels + kThreads - 1) / kThreads, images), kThreads>>>(
        static_cast<const __half *>(x), static_cast<const __half *>(offset), static_cast<const __half *>(mask),
        static_cast<__half *>(columns), channels, shape[3], shape[4]);
    if (cudaError_t status = cudaGetLastError(); status != cudaSuccess) {
        return status;
    }
    gemm_kernel<<<dim3((pixels + kTile - 1) / kTile, outputs / kTile, images), kGemmThreads>>>(
        static_cast<const __half *>(weight), static_cast<const __half *>(columns), static_cast<const __half *>(bias),
        static_cast<__half *>(y), outputs, channels * kTaps, pixels);
    return cudaGetLastError();
}
