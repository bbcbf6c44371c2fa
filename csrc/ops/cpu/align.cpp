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
// So many pixels of a row are gathered, then mixed: gathering is a pixel at a time, mixing fills vector registers.
constexpr int kRun = 128;
// A pixel is copied as four bytes. The fourth is overwritten by the next pixel.
constexpr int kLanes = 4;
constexpr int kRunLevels = 3 * kRun + 1;

/// What the levels of some neighbouring pixels of a crop are mixed from.
struct Run {
    uint8_t top_left[kRunLevels], top_right[kRunLevels], bottom_left[kRunLevels], bottom_right[kRunLevels];
    uint16_t weight_x[kRunLevels], weight_y[kRunLevels];
};

/// Copies a pixel, or zeros for one that is beyond the image.
void gather_at_edge(const ImageView &image, int row, int column, uint8_t *levels) {
    const bool inside = 0 <= row && row < image.height && 0 <= column && column < image.width;
    for (int c = 0; c < 3; ++c) {
        levels[c] = inside ? image.data[row * image.pitch_bytes + 3 * column + c] : 0;
    }
}

void repeat(int weight, uint16_t *weights) {
    const uint64_t lanes = static_cast<uint64_t>(weight) * 0x0001000100010001;
    static_assert(sizeof(lanes) == kLanes * sizeof(uint16_t));
    std::memcpy(weights, &lanes, sizeof(lanes));
}

/// `x` and `y` are the position of the first pixel.
void gather(const ImageView &image, const CropSampling &sampling, int64_t x, int64_t y, int count, Run &run) {
    // Of the upper left of four pixels that lie in the image, with a byte behind the last one.
    const auto columns = static_cast<unsigned>(std::max(0, image.width - 2));
    const auto rows = static_cast<unsigned>(image.height - 1);
    const int64_t dx = sampling.dx, dy = sampling.dy, pitch = image.pitch_bytes;
    for (int i = 0; i < count; ++i, x += dx, y += dy) {
        const CropTap tap_x = crop_tap(x), tap_y = crop_tap(y);
        const int at = 3 * i;
        if (static_cast<unsigned>(tap_x.low) < columns && static_cast<unsigned>(tap_y.low) < rows) {
            const uint8_t *top = image.data + tap_y.low * pitch + int64_t{3} * tap_x.low, *bottom = top + pitch;
            std::memcpy(run.top_left + at, top, kLanes);
            std::memcpy(run.top_right + at, top + 3, kLanes);
            std::memcpy(run.bottom_left + at, bottom, kLanes);
            std::memcpy(run.bottom_right + at, bottom + 3, kLanes);
        } else {
            gather_at_edge(image, tap_y.low, tap_x.low, run.top_left + at);
            gather_at_edge(image, tap_y.low, tap_x.low + 1, run.top_right + at);
            gather_at_edge(image, tap_y.low + 1, tap_x.low, run.bottom_left + at);
            gather_at_edge(image, tap_y.low + 1, tap_x.low + 1, run.bottom_right + at);
        }
        repeat(tap_x.weight, run.weight_x + at);
        repeat(tap_y.weight, run.weight_y + at);
    }
}

RF_SIMD_CLONES
void mix(const Run &run, int levels, uint8_t *out) {
    for (int i = 0; i < levels; ++i) {
        out[i] = static_cast<uint8_t>(bilinear_mix(run.top_left[i], run.top_right[i], run.bottom_left[i],
                                                   run.bottom_right[i], run.weight_x[i], run.weight_y[i]));
    }
}

/// One row of a crop.
void align_row(const ImageView &image, const CropSampling &sampling, int64_t row, int width, uint8_t *out) {
    Run run;
    for (int first = 0; first < width; first += kRun) {
        const int count = std::min(kRun, width - first);
        gather(image, sampling, sampling.x + first * sampling.dx - row * sampling.dy,
               sampling.y + first * sampling.dy + row * sampling.dx, count, run);
        mix(run, 3 * count, out + int64_t{3} * first);
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
                         align_row(images[image], sampling, v, params.width, out);
                     }
                 });
}

}  // namespace retinaface
