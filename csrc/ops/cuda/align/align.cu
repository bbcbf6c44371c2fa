#include <algorithm>

#include "common/aligned.h"
#include "common/landmarks.h"
#include "math/crop_sampling.h"
#include "math/similarity.h"
#include "ops/align.h"
#include "ops/cuda/common/launch.cuh"
#include "ops/cuda/common/warp.cuh"

namespace retinaface {
namespace {

constexpr int kThreads = 256;
// 7 x 256 pixels: crops of 112 x 112 are 7 blocks, of 112 x 96 are 6, without a rest.
constexpr int kPixelsPerThread = 7;
constexpr int kTilePixels = kThreads * kPixelsPerThread;
constexpr int kMaxImagesPerLaunch = 128;  // 24 bytes each: kernel parameters are limited to 4 KB
constexpr int kPixelsPerGroup = 4;        // which are three 32-bit words

struct SourceImages {
    ImageView image[kMaxImagesPerLaunch];
};

/// The images of one launch: their number, and the index of the first one.
struct ImageRange {
    int first, count;
};

/// One channel of a pixel; 0 beyond the image.
__device__ __forceinline__ int level_of(const uint8_t *pixel, int channel, bool inside) {
    return inside ? __ldg(pixel + channel) : 0;
}

/// The pixel at a position of the image, its channels in 24 bits, the first one low.
__device__ __forceinline__ uint32_t sample(const ImageView &image, int64_t x, int64_t y) {
    const CropTap tap_x = crop_tap(x), tap_y = crop_tap(y);
    const bool left = 0 <= tap_x.low && tap_x.low < image.width;
    const bool right = -1 <= tap_x.low && tap_x.low < image.width - 1;
    const bool above = 0 <= tap_y.low && tap_y.low < image.height;
    const bool below = -1 <= tap_y.low && tap_y.low < image.height - 1;
    const uint8_t *top = image.data + tap_y.low * image.pitch_bytes + int64_t{3} * tap_x.low;
    const uint8_t *bottom = top + image.pitch_bytes;
    uint32_t packed = 0;
#pragma unroll
    for (int c = 0; c < 3; ++c) {
        const int level = bilinear_mix(level_of(top, c, above && left), level_of(top + 3, c, above && right),
                                       level_of(bottom, c, below && left), level_of(bottom + 3, c, below && right),
                                       tap_x.weight, tap_y.weight);
        packed |= static_cast<uint32_t>(level) << 8 * c;
    }
    return packed;
}

/// Writes one pixel of a crop for each lane. Four lanes hold a group of neighbours, which begins at a multiple of 4
/// bytes. Three of them write its words if the crop has all four pixels, else each lane the bytes of a pixel that the
/// crop has. All lanes of the warp must call it.
__device__ __forceinline__ void store(uint8_t *crop, int pixel, int pixels, uint32_t packed) {
    const int place = lane_index() % kPixelsPerGroup, group = pixel - place;
    const uint32_t next = __shfl_down_sync(kFullMask, packed, 1);
    if (0 <= group && group + kPixelsPerGroup <= pixels) {
        if (place < 3) {
            auto *words = reinterpret_cast<uint32_t *>(crop + int64_t{3} * group);
            words[place] = packed >> 8 * place | next << (24 - 8 * place);
        }
    } else if (0 <= pixel && pixel < pixels) {
#pragma unroll
        for (int c = 0; c < 3; ++c) {
            crop[int64_t{3} * pixel + c] = static_cast<uint8_t>(packed >> 8 * c);
        }
    }
}

/// Cuts out all faces of a batch that lie in the images of this launch.
///
/// Grid (faces, tiles of 1792 neighbouring pixels of a crop, row after row). A warp takes neighbouring pixels, so that
/// the bytes it loads are close together and its stores are 96 bytes in a row: three of four lanes write a word, put
/// together from their pixel and the next lane's. Crops whose size is no multiple of 4 pixels begin within a word, so
/// tiles are cut where a word begins, and the pixels around a crop's ends are written as bytes.
///
/// One thread estimates the transform, in double, for the block: about a hundred operations, which some GPUs do slowly.
__global__ void __launch_bounds__(kThreads)
    align_kernel(const __grid_constant__ AlignParams params, const __grid_constant__ FivePoints wanted,
                 const __grid_constant__ SourceImages images, ImageRange range, AlignInputs inputs,
                 AlignOutputs outputs) {
    __shared__ CropSampling shared_sampling;
    const int64_t face = blockIdx.x;
    const int32_t index = inputs.image_indices == nullptr ? 0 : __ldg(inputs.image_indices + face);
    const bool exists = 0 <= index && index < params.images;
    // The first launch writes the crops of faces without an image.
    if (exists ? index < range.first || index >= range.first + range.count : range.first > 0) {
        return;
    }
    if (thread_index() == 0) {
        const SimilarityFit fit = fit_similarity(five_points(inputs.landmarks + kLandmarkValues * face), wanted);
        CropSampling sampling = crop_sampling(fit.inverse);
        sampling.usable = sampling.usable && exists;
        shared_sampling = sampling;
        if (blockIdx.y == 0) {
            write_transform(fit.forward, sampling.usable, outputs.transforms + 6 * face);
        }
    }
    __syncthreads();
    const CropSampling sampling = shared_sampling;
    const ImageView &image = images.image[exists ? index - range.first : 0];

    const int pixels = params.height * params.width;
    const int64_t first = face * pixels;  // of the crop, in pixels of all crops
    uint8_t *crop = outputs.crops + 3 * first;
    // Below 0 for up to three lanes of the first tile.
    int pixel = static_cast<int>(blockIdx.y) * kTilePixels + thread_index() - static_cast<int>(first % kPixelsPerGroup);
    for (int i = 0; i < kPixelsPerThread; ++i, pixel += kThreads) {
        uint32_t packed = 0;
        if (sampling.usable && 0 <= pixel && pixel < pixels) {
            const int v = pixel / params.width, u = pixel % params.width;
            packed = sample(image, sampling.x + u * sampling.dx - v * sampling.dy,
                            sampling.y + u * sampling.dy + v * sampling.dx);
        }
        store(crop, pixel, pixels, packed);
    }
}

}  // namespace

cudaError_t align_cuda(const AlignParams &params, const ImageView *images, const AlignInputs &inputs,
                       const AlignOutputs &outputs, cudaStream_t stream) {
    if (params.faces == 0) {
        return cudaSuccess;
    }
    if (!is_aligned(outputs.crops, sizeof(uint32_t))) {
        return cudaErrorMisalignedAddress;
    }
    const int pixels = params.height * params.width;
    const int most_before = pixels % kPixelsPerGroup == 0 ? 0 : kPixelsPerGroup - 1;
    const dim3 grid(params.faces, (pixels + most_before + kTilePixels - 1) / kTilePixels);
    const FivePoints wanted = five_points(params.template_points);
    for (int first = 0; first < params.images; first += kMaxImagesPerLaunch) {
        const ImageRange range{first, std::min(params.images - first, kMaxImagesPerLaunch)};
        SourceImages sources;
        std::copy_n(images + first, range.count, sources.image);
        cudaError_t status =
            launch(align_kernel, grid, kThreads, 0, stream, params, wanted, sources, range, inputs, outputs);
        if (status != cudaSuccess) {
            return status;
        }
    }
    return cudaSuccess;
}

}  // namespace retinaface
