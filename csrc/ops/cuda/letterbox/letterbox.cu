#include <cuda_fp16.h>

#include <algorithm>

#include "common/aligned.h"
#include "math/bilinear.h"
#include "math/unletterbox.h"
#include "ops/cuda/common/launch.cuh"
#include "ops/cuda/common/warp.cuh"
#include "ops/letterbox.h"

namespace retinaface {
namespace {

constexpr int kTileWidth = 64;
constexpr int kTileHeight = 32;
constexpr int kThreadRows = 4;
constexpr int kThreads = kTileWidth * kThreadRows;
constexpr int kGreyLevels = 256;
constexpr int kMaxImagesPerLaunch = 64;  // 48 bytes each: kernel parameters are limited to 4 KB

struct SourceImage {
    ImageView view;
    LetterboxPlacement placement;
};

struct SourceImages {
    SourceImage image[kMaxImagesPerLaunch];
};

/// Resizes, pads and normalises a batch of images of different sizes.
///
/// Grid (tiles of 64 x 32 pixels, images). A warp takes neighbouring pixels of a row, so its stores are coalesced and
/// the bytes it loads are close together (few sectors from the L1 cache). A thread stays in one column and computes the
/// column's tap (64-bit divisions) once; the rows' taps are in shared memory. There are only 256 grey levels, so the
/// normalised levels are a table in shared memory (3 KB), computed once per block.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    letterbox_kernel(const __grid_constant__ LetterboxParams params, const __grid_constant__ SourceImages images,
                     T *output, float *transforms) {
    __shared__ float levels[3][kGreyLevels];
    __shared__ BilinearTap row_taps[kTileHeight];
    const SourceImage &source = images.image[blockIdx.z];
    const LetterboxPlacement &placement = source.placement;
    const int thread = thread_index();
    const int first_row = static_cast<int>(blockIdx.y) * kTileHeight;
    const int column = static_cast<int>(blockIdx.x) * kTileWidth + thread % kTileWidth;

    for (int i = thread; i < 3 * kGreyLevels; i += kThreads) {
        int c = i / kGreyLevels, level = i % kGreyLevels;
        levels[c][level] = normalise(level, params.mean[c], params.std[c]);
    }
    if (thread < kTileHeight) {
        row_taps[thread] = bilinear_tap(first_row + thread - placement.pad_y, source.view.height, placement.height);
    }
    if (blockIdx.x == 0 && blockIdx.y == 0 && thread == 0) {
        float *transform = transforms + 3 * static_cast<int64_t>(blockIdx.z);
        transform[0] = placement.scale;
        transform[1] = static_cast<float>(placement.pad_x);
        transform[2] = static_cast<float>(placement.pad_y);
    }
    __syncthreads();
    if (column >= params.out_width) {
        return;
    }

    const int x = column - placement.pad_x;
    const bool column_inside = 0 <= x && x < placement.width;
    const BilinearTap tap_x = bilinear_tap(x, source.view.width, placement.width);
    const int64_t plane = static_cast<int64_t>(params.out_height) * params.out_width;
    T *first_plane = output + static_cast<int64_t>(blockIdx.z) * 3 * plane;
    const int end_row = min(first_row + kTileHeight, params.out_height);
    for (int row = first_row + thread / kTileWidth; row < end_row; row += kThreadRows) {
        T *pixel = first_plane + static_cast<int64_t>(row) * params.out_width + column;
        const int y = row - placement.pad_y;
        if (!column_inside || y < 0 || y >= placement.height) {
#pragma unroll
            for (int c = 0; c < 3; ++c) {
                pixel[c * plane] = static_cast<T>(levels[c][params.pad_value[c]]);
            }
            continue;
        }
        const BilinearTap tap_y = row_taps[row - first_row];
        const uint8_t *top = source.view.data + tap_y.low * source.view.pitch_bytes;
        const uint8_t *bottom = source.view.data + tap_y.high * source.view.pitch_bytes;
        int mixed[3];
#pragma unroll
        for (int c = 0; c < 3; ++c) {
            int left = 3 * tap_x.low + c, right = 3 * tap_x.high + c;
            mixed[c] = bilinear_mix(__ldg(top + left), __ldg(top + right), __ldg(bottom + left), __ldg(bottom + right),
                                    tap_x.weight, tap_y.weight);
        }
        pixel[0] = static_cast<T>(levels[0][params.swap_rb ? mixed[2] : mixed[0]]);
        pixel[plane] = static_cast<T>(levels[1][mixed[1]]);
        pixel[2 * plane] = static_cast<T>(levels[2][params.swap_rb ? mixed[0] : mixed[2]]);
    }
}

template <typename T>
cudaError_t letterbox_images(const LetterboxParams &params, const ImageView *images, T *output, float *transforms,
                             cudaStream_t stream) {
    const int64_t image_elements = int64_t{3} * params.out_height * params.out_width;
    for (int first = 0; first < params.batch; first += kMaxImagesPerLaunch) {
        const int count = std::min(params.batch - first, kMaxImagesPerLaunch);
        SourceImages sources;
        for (int i = 0; i < count; ++i) {
            const ImageView &view = images[first + i];
            sources.image[i] = {view, letterbox_placement(view.height, view.width, params.out_height, params.out_width,
                                                          params.enlarge)};
        }
        const dim3 grid((params.out_width + kTileWidth - 1) / kTileWidth,
                        (params.out_height + kTileHeight - 1) / kTileHeight, count);
        cudaError_t status = launch(letterbox_kernel<T>, grid, kThreads, 0, stream, params, sources,
                                    output + first * image_elements, transforms + int64_t{3} * first);
        if (status != cudaSuccess) {
            return status;
        }
    }
    return cudaSuccess;
}

constexpr int kUnletterboxThreads = 256;
constexpr int kBoxPoints = 2;

struct UnletterboxPlacements {
    UnletterboxPlacement image[kMaxImagesPerLaunch];
};

/// Grid (points of an image, images), a thread per point: first the corners of the image's boxes, then its landmarks.
/// `first` is the index of the first image of this launch. kPoints is the number of landmark points if it is known when
/// this is compiled, which spares a long division; else 0.
template <int kPoints>
__global__ void __launch_bounds__(kUnletterboxThreads)
    unletterbox_kernel(UnletterboxParams params, const __grid_constant__ UnletterboxPlacements placements, int first,
                       UnletterboxInputs inputs, UnletterboxOutputs outputs) {
    const int64_t box_points = int64_t{params.slots} * kBoxPoints;
    const int points = kPoints > 0 ? kPoints : params.num_points;
    const int64_t landmark_points = int64_t{params.slots} * points;
    int64_t i = static_cast<int64_t>(blockIdx.x) * kUnletterboxThreads + threadIdx.x;
    if (i >= box_points + landmark_points) {
        return;
    }
    const int64_t image = first + static_cast<int64_t>(blockIdx.y);
    const bool in_box = i < box_points;
    i -= in_box ? 0 : box_points;
    const int64_t slot = i / (in_box ? kBoxPoints : points);
    i += image * (in_box ? box_points : landmark_points);
    float2 point = reinterpret_cast<const float2 *>(in_box ? inputs.boxes : inputs.landmarks)[i];
    if (inputs.count != nullptr && slot >= inputs.count[image]) {
        point = float2{};
    } else {
        const UnletterboxPlacement &placement = placements.image[blockIdx.y];
        point.x = unletterbox(point.x, placement.pad_x, placement.factor_x);
        point.y = unletterbox(point.y, placement.pad_y, placement.factor_y);
    }
    reinterpret_cast<float2 *>(in_box ? outputs.boxes : outputs.landmarks)[i] = point;
}

}  // namespace

cudaError_t letterbox_cuda(const LetterboxParams &params, const ImageView *images, void *output, float *transforms,
                           cudaStream_t stream) {
    switch (params.dtype) {
        case DType::kFloat32:
            return letterbox_images(params, images, static_cast<float *>(output), transforms, stream);
        case DType::kFloat16:
            return letterbox_images(params, images, static_cast<__half *>(output), transforms, stream);
        case DType::kBFloat16:
            break;
    }
    return cudaErrorInvalidValue;
}

cudaError_t unletterbox_cuda(const UnletterboxParams &params, const UnletterboxPlacement *placements,
                             const UnletterboxInputs &inputs, const UnletterboxOutputs &outputs, cudaStream_t stream) {
    if (params.slots == 0) {
        return cudaSuccess;
    }
    for (const float *pointer : {inputs.boxes, inputs.landmarks, static_cast<const float *>(outputs.boxes),
                                 static_cast<const float *>(outputs.landmarks)}) {
        if (!is_aligned(pointer, sizeof(float2))) {
            return cudaErrorMisalignedAddress;
        }
    }
    const int64_t points = int64_t{params.slots} * (kBoxPoints + params.num_points);
    const int64_t blocks = (points + kUnletterboxThreads - 1) / kUnletterboxThreads;
    for (int first = 0; first < params.batch; first += kMaxImagesPerLaunch) {
        const int count = std::min(params.batch - first, kMaxImagesPerLaunch);
        UnletterboxPlacements part;
        std::copy_n(placements + first, count, part.image);
        const dim3 grid(static_cast<unsigned>(blocks), count);
        const auto kernel =
            params.num_points == kLandmarkPoints ? unletterbox_kernel<kLandmarkPoints> : unletterbox_kernel<0>;
        cudaError_t status = launch(kernel, grid, kUnletterboxThreads, 0, stream, params, part, first, inputs, outputs);
        if (status != cudaSuccess) {
            return status;
        }
    }
    return cudaSuccess;
}

}  // namespace retinaface
