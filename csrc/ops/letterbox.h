#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "common/dtype.h"

#ifdef RETINAFACE_HAS_CUDA
#include <cuda_runtime_api.h>
#endif

namespace retinaface {

constexpr int kMaxImageSide = 16384;  // keeps the fixed-point coordinates within 64 bits, with room

/// One uint8 image, HWC with 3 channels; rows are `pitch_bytes` apart.
struct ImageView {
    const uint8_t *data = nullptr;
    int height = 0;
    int width = 0;
    int64_t pitch_bytes = 0;
};

struct LetterboxParams {
    int batch = 0;
    int out_height = 0;
    int out_width = 0;
    float mean[3] = {};                 // in the order of the output's channels
    float std[3] = {1.0f, 1.0f, 1.0f};  // likewise
    uint8_t pad_value[3] = {};          // likewise
    bool swap_rb = false;               // output channel c is input channel 2 - c
    bool enlarge = true;                // whether images smaller than the output are magnified
    DType dtype = DType::kFloat32;      // of the output: float32, or float16 on the GPU
};

/// Where an image lies in the output: the image's pixel (x, y) is at (x * scale + pad_x, ...), up to the
/// rounding of the resized size to whole pixels.
struct LetterboxPlacement {
    float scale;
    int height, width;  // of the resized image
    int pad_x, pad_y;   // of its left upper corner
};

/// scale = min(out_height / height, out_width / width), at most 1 unless `enlarge`; the resized sides are rounded to
/// the nearest pixel, at least 1; the rest is padded evenly, the odd pixel right and below.
LetterboxPlacement letterbox_placement(int height, int width, int out_height, int out_width, bool enlarge);

/// Throws InvalidArgument naming the parameter or image that is out of range.
void validate_letterbox(const LetterboxParams &params, const ImageView *images);

/// The order of a batch on the host: [N, 3, H, W], or [N, H, W, 3] for networks that want pixels together.
enum class HostLayout { kChannelsFirst, kChannelsLast };

/// Bilinear with the pixel centres of OpenCV's INTER_LINEAR, in fixed point with 11 bits of weight and
/// one rounding to a grey level; then (value - mean) / std. output float32 in `layout`; transforms
/// [N, 3]: scale, pad_x, pad_y in pixels. Runs on up to `num_threads` threads (0: one per core).
void letterbox_cpu(const LetterboxParams &params, const ImageView *images, float *output, float *transforms,
                   HostLayout layout = HostLayout::kChannelsFirst, int num_threads = 0);

/// What leads results in pixels of the network's input back to pixels of the images.
struct UnletterboxParams {
    int batch = 0;
    int slots = 0;  // M, of each image
    bool has_landmarks = true;
};

/// boxes [N, M, 4], landmarks [N, M, 10] (null without) and count [N] (null: all slots are used).
struct UnletterboxInputs {
    const float *boxes = nullptr;
    const float *landmarks = nullptr;
    const int32_t *count = nullptr;
};

/// Shaped as the inputs, and may be the inputs. Slots from count on become zero.
struct UnletterboxOutputs {
    float *boxes = nullptr;
    float *landmarks = nullptr;
};

/// The way back to one image: x becomes (x - pad_x) * factor_x, y likewise (math/unletterbox.h).
struct UnletterboxPlacement {
    float factor_x, factor_y;
    float pad_x, pad_y;
};

/// For images (height, width) that were letterboxed to one size. Throws InvalidArgument naming the size that is out of
/// range.
std::vector<UnletterboxPlacement> unletterbox_placements(const std::vector<std::pair<int, int>> &image_sizes,
                                                         int out_height, int out_width, bool enlarge);

/// One of `placements` for each image. Nothing is clipped to the image.
void unletterbox_cpu(const UnletterboxParams &params, const UnletterboxPlacement *placements,
                     const UnletterboxInputs &inputs, const UnletterboxOutputs &outputs);

#ifdef RETINAFACE_HAS_CUDA
/// As letterbox_cpu, to the last bit, for images of any sizes in one launch (per 64 of them). `images`
/// lies on the host, the pixels it points at, output and transforms on the device. Needs no workspace:
/// the descriptions travel as kernel parameters, so that a captured graph keeps these sizes and places.
cudaError_t letterbox_cuda(const LetterboxParams &params, const ImageView *images, void *output, float *transforms,
                           cudaStream_t stream);

/// As unletterbox_cpu, to the last bit, in one launch per 64 images. `placements` lies on the host and travels as
/// kernel parameters; all other pointers are on the device; boxes and landmarks are aligned to 8 bytes (else
/// cudaErrorMisalignedAddress).
cudaError_t unletterbox_cuda(const UnletterboxParams &params, const UnletterboxPlacement *placements,
                             const UnletterboxInputs &inputs, const UnletterboxOutputs &outputs, cudaStream_t stream);
#endif

}  // namespace retinaface
