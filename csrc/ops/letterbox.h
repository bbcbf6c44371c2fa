#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "common/dtype.h"
#include "common/landmarks.h"
#include "ops/image.h"

#ifdef RETINAFACE_HAS_CUDA
#include <cuda_runtime_api.h>
#endif

namespace retinaface {

struct LetterboxParams {
    int batch = 0;
    int out_height = 0;
    int out_width = 0;
    float mean[3] = {};                 // mean, std and pad_value: in the order of the output's channels
    float std[3] = {1.0f, 1.0f, 1.0f};  // above 0
    uint8_t pad_value[3] = {};          // grey levels, before normalisation
    bool swap_rb = false;               // output channel c is input channel 2 - c
    bool enlarge = true;                // false: images smaller than the output keep their size
    DType dtype = DType::kFloat32;      // of the output: float32, or float16 on the GPU
};

/// Where an image lies in the output: pixel (x, y) of the image is at (x * scale + pad_x, y * scale + pad_y), apart
/// from the rounding of the resized size to whole pixels.
struct LetterboxPlacement {
    float scale;
    int height, width;  // of the resized image
    int pad_x, pad_y;   // its upper left corner
};

/// scale = min(out_height / height, out_width / width), at most 1 unless `enlarge`. The resized sides are rounded to
/// the nearest pixel, at least 1. Both sides of the image get equal padding; an odd pixel goes to the right and below.
LetterboxPlacement letterbox_placement(int height, int width, int out_height, int out_width, bool enlarge);

/// Throws InvalidArgument naming the parameter or image that is out of range.
void validate_letterbox(const LetterboxParams &params, const ImageView *images);

/// The layout of a batch on the host: [N, 3, H, W] or [N, H, W, 3].
enum class HostLayout { kChannelsFirst, kChannelsLast };

/// Resizes bilinearly with the pixel centres of OpenCV's INTER_LINEAR, in fixed point with weights of 11 bits and one
/// rounding to a grey level; then (value - mean) / std. output: float32 in `layout`; transforms [N, 3]: scale, pad_x,
/// pad_y in pixels. Uses up to `num_threads` threads (0: one per core).
void letterbox_cpu(const LetterboxParams &params, const ImageView *images, float *output, float *transforms,
                   HostLayout layout = HostLayout::kChannelsFirst, int num_threads = 0);

/// Maps boxes and landmarks from pixels of the network's input back to pixels of the images.
struct UnletterboxParams {
    int batch = 0;
    int slots = 0;                     // M, of each image
    int num_points = kLandmarkPoints;  // L; 0 without landmarks
};

/// boxes [N, M, 4], landmarks [N, M, 2 L] (null without landmarks) and count [N] (null: all slots are used).
struct UnletterboxInputs {
    const float *boxes = nullptr;
    const float *landmarks = nullptr;
    const int32_t *count = nullptr;
};

/// Of the inputs' shapes; may be the inputs themselves. Slots from count on become zero.
struct UnletterboxOutputs {
    float *boxes = nullptr;
    float *landmarks = nullptr;
};

/// The mapping to one image: x becomes (x - pad_x) * factor_x, and likewise y (math/unletterbox.h).
struct UnletterboxPlacement {
    float factor_x, factor_y;
    float pad_x, pad_y;
};

/// One for each image (height, width), all letterboxed to one output size. Throws InvalidArgument naming the size that
/// is out of range.
std::vector<UnletterboxPlacement> unletterbox_placements(const std::vector<std::pair<int, int>> &image_sizes,
                                                         int out_height, int out_width, bool enlarge);

/// `placements` has one entry per image. Results are not clipped to the image.
void unletterbox_cpu(const UnletterboxParams &params, const UnletterboxPlacement *placements,
                     const UnletterboxInputs &inputs, const UnletterboxOutputs &outputs);

#ifdef RETINAFACE_HAS_CUDA
/// The same bits as letterbox_cpu, in one launch per 64 images of any sizes. `images` is on the host; the pixels that
/// it points to, output and transforms are on the device. Needs no workspace: the image views are kernel parameters, so
/// a captured graph keeps their sizes and addresses.
cudaError_t letterbox_cuda(const LetterboxParams &params, const ImageView *images, void *output, float *transforms,
                           cudaStream_t stream);

/// The same bits as unletterbox_cpu, in one launch per 64 images. `placements` is on the host and becomes kernel
/// parameters; all other pointers are device pointers. Boxes and landmarks must be aligned to 8 bytes (else
/// cudaErrorMisalignedAddress).
cudaError_t unletterbox_cuda(const UnletterboxParams &params, const UnletterboxPlacement *placements,
                             const UnletterboxInputs &inputs, const UnletterboxOutputs &outputs, cudaStream_t stream);
#endif

}  // namespace retinaface
