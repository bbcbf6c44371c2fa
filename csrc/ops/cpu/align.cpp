#include "ops/align.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "common/landmarks.h"
#include "common/parallel.h"
#include "common/simd.h"
#include "math/crop_sampling.h"
#include "math/similarity.h"

namespace retinaface {
namespace {

// A thread's start takes as long as many rows of a small crop.
constexpr int64_t kPixelsPerPiece = 1 << 16;
// A pixel is processed as four lanes of a vector register. The fourth is the next pixel's first channel; its result is
// overwritten or unused.
constexpr int kLanes = 4;

/// One pixel some of whose four sources may lie beyond the image, where they are 0.
void sample_at_edge(const ImageView &image, const CropTap &x, const CropTap &y, uint8_t *out) {
    auto level = [&](int row, int column, int channel) -> int {
        bool inside = 0 <= row && row < image.height && 0 <= column && column < image.width;
        return inside ? image.data[row * image.pitch_bytes + 3 * column + channel] : 0;
    };
    for (int c = 0; c < 3; ++c) {
        out[c] = static_cast<uint8_t>(bilinear_mix(level(y.low, x.low, c), level(y.low, x.low + 1, c),
                                                   level(y.low + 1, x.low, c), level(y.low + 1, x.low + 1, c), x.weight,
                                                   y.weight));
    }
}

/// One row of a crop. `x` and `y` are the position of its first pixel.
RF_SIMD_CLONES
void align_row(const ImageView &image, const CropSampling &sampling, int64_t x, int64_t y, int width, uint8_t *out) {
    // Of the first of four pixels that lie in the image, with the lane behind the last one.
    const auto columns = static_cast<unsigned>(std::max(0, image.width - 2));
    const auto rows = static_cast<unsigned>(image.height - 1);
    for (int i = 0; i < width; ++i, x += sampling.dx, y += sampling.dy, out += 3) {
        const CropTap tap_x = crop_tap(x), tap_y = crop_tap(y);
        if (static_cast<unsigned>(tap_x.low) >= columns || static_cast<unsigned>(tap_y.low) >= rows) {
            sample_at_edge(image, tap_x, tap_y, out);
            continue;
        }
        const uint8_t *top = image.data + tap_y.low * image.pitch_bytes + 3 * tap_x.low;
        const uint8_t *bottom = top + image.pitch_bytes;
        uint8_t pixel[kLanes];
        for (int lane = 0; lane < kLanes; ++lane) {
            pixel[lane] = static_cast<uint8_t>(
                bilinear_mix(top[lane], top[lane + 3], bottom[lane], bottom[lane + 3], tap_x.weight, tap_y.weight));
        }
        std::memcpy(out, pixel, i + 1 < width ? 4 : 3);
    }
}

}  // namespace

void align_cpu(const AlignParams &params, const ImageView *images, const AlignInputs &inputs,
               const AlignOutputs &outputs, int num_threads) {
    const FivePoints wanted = five_points(params.template_points);
    std::vector<CropSampling> samplings(params.faces);
    for (int face = 0; face < params.faces; ++face) {
        const SimilarityFit fit =
            fit_similarity(five_points(inputs.landmarks + int64_t{kLandmarkValues} * face), wanted);
        const int32_t image = inputs.image_indices == nullptr ? 0 : inputs.image_indices[face];
        if (0 <= image && image < params.images) {
            samplings[face] = crop_sampling(fit.inverse);
        }
        write_transform(fit.forward, samplings[face].usable, outputs.transforms + int64_t{6} * face);
    }
    const int64_t row_bytes = int64_t{3} * params.width;
    const int64_t rows_per_piece = std::max<int64_t>(1, kPixelsPerPiece / params.width);
    parallel_for(static_cast<int64_t>(params.faces) * params.height, rows_per_piece, num_threads,
                 [&](int64_t begin, int64_t end) {
                     for (int64_t row = begin; row < end; ++row) {
                         const int64_t face = row / params.height, v = row % params.height;
                         const CropSampling &sampling = samplings[face];
                         uint8_t *out = outputs.crops + row * row_bytes;
                         if (!sampling.usable) {
                             std::memset(out, 0, row_bytes);
                             continue;
                         }
                         const int32_t image = inputs.image_indices == nullptr ? 0 : inputs.image_indices[face];
                         align_row(images[image], sampling, sampling.x - v * sampling.dy, sampling.y + v * sampling.dx,
                                   params.width, out);
                     }
                 });
}

}  // namespace retinaface
