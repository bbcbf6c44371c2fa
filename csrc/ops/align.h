#pragma once

#include <cstdint>

#include "ops/image.h"

#ifdef RETINAFACE_HAS_CUDA
#include <cuda_runtime_api.h>
#endif

namespace retinaface {

constexpr int kMaxCropSide = 4096;

struct AlignParams {
    int faces = 0;
    int images = 0;
    int height = 0;  // of a crop
    int width = 0;
    float template_points[10] = {};  // x and y of the five landmarks in pixels of a crop
};

/// landmarks [faces, 10]: x and y of five points in pixels of the image. image_indices [faces]; null: all faces are in
/// the first image.
struct AlignInputs {
    const float *landmarks = nullptr;
    const int32_t *image_indices = nullptr;
};

/// crops [faces, height, width, 3]. transforms [faces, 2, 3]: from pixels of the image to pixels of the crop.
struct AlignOutputs {
    uint8_t *crops = nullptr;
    float *transforms = nullptr;
};

/// Throws InvalidArgument naming the parameter or image that is out of range.
void validate_align(const AlignParams &params, const ImageView *images);

/// Cuts out each face, turned and scaled by the similarity transform that takes its landmarks nearest to the template
/// (math/similarity.h). Whole coordinates are centres of pixels. Bilinear, with weights of 11 bits and one rounding to
/// a grey level; 0 beyond the image. Uses up to `num_threads` threads (0: one per core).
///
/// A face has a crop of zeros and a transform of zeros if its landmarks are not finite, coincide, or are too small, too
/// large or too far away for math/crop_sampling.h; or if its image index is not one of an image.
void align_cpu(const AlignParams &params, const ImageView *images, const AlignInputs &inputs,
               const AlignOutputs &outputs, int num_threads = 0);

#ifdef RETINAFACE_HAS_CUDA
/// The same bits as align_cpu, in one launch per 128 images. `images` is on the host and becomes kernel parameters; the
/// pixels that it points to, and all other pointers, are on the device.
cudaError_t align_cuda(const AlignParams &params, const ImageView *images, const AlignInputs &inputs,
                       const AlignOutputs &outputs, cudaStream_t stream);
#endif

}  // namespace retinaface
