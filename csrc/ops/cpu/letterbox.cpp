#include "ops/letterbox.h"

#include <algorithm>
#include <array>
#include <vector>

#include "common/parallel.h"
#include "common/simd.h"
#include "math/bilinear.h"

namespace retinaface {
namespace {

constexpr int64_t kRowsPerPiece = 32;

/// Where one output column reads in a row of pixels, and the weight of the second pixel.
struct ColumnTap {
    int low, high;  // offsets of the pixels' first channel
    int weight;
};

/// What the rows of one image share.
struct ImagePlan {
    ImageView image;
    LetterboxPlacement placement;
    std::vector<ColumnTap> columns;
};

using LevelTable = std::array<std::array<float, 256>, 3>;  // per output channel: normalised grey levels

ImagePlan plan_of(const ImageView &image, const LetterboxParams &params) {
    ImagePlan plan{
        image, letterbox_placement(image.height, image.width, params.out_height, params.out_width, params.enlarge), {}};
    plan.columns.reserve(plan.placement.width);
    for (int x = 0; x < plan.placement.width; ++x) {
        BilinearTap tap = bilinear_tap(x, image.width, plan.placement.width);
        plan.columns.push_back({3 * tap.low, 3 * tap.high, tap.weight});
    }
    return plan;
}

LevelTable level_table(const LetterboxParams &params) {
    LevelTable table;
    for (int c = 0; c < 3; ++c) {
        for (int level = 0; level < 256; ++level) {
            table[c][level] = normalise(level, params.mean[c], params.std[c]);
        }
    }
    return table;
}

/// Mixes two rows. First, since here neighbours in memory are neighbours in the result: the loop over
/// columns, which cannot be vectorised, then runs once per output pixel.
RF_SIMD_CLONES
void blend_rows(const uint8_t *top, const uint8_t *bottom, int weight, int64_t count, int *blended) {
    for (int64_t i = 0; i < count; ++i) {
        blended[i] = bilinear_blend(top[i], bottom[i], weight);
    }
}

void blend_columns(const std::vector<ColumnTap> &columns, const int *row, const int (&channel)[3],
                   const LevelTable &table, float *const (&out)[3]) {
    for (size_t x = 0; x < columns.size(); ++x) {
        ColumnTap tap = columns[x];
        for (int c = 0; c < 3; ++c) {
            int level =
                bilinear_round(bilinear_blend(row[tap.low + channel[c]], row[tap.high + channel[c]], tap.weight));
            out[c][x] = table[c][level];
        }
    }
}

}  // namespace

void letterbox_cpu(const LetterboxParams &params, const ImageView *images, float *output, float *transforms,
                   int num_threads) {
    const LevelTable table = level_table(params);
    const int channel[3] = {params.swap_rb ? 2 : 0, 1, params.swap_rb ? 0 : 2};
    const int64_t plane = static_cast<int64_t>(params.out_height) * params.out_width;

    std::vector<ImagePlan> plans;
    for (int i = 0; i < params.batch; ++i) {
        plans.push_back(plan_of(images[i], params));
        const LetterboxPlacement &placement = plans.back().placement;
        transforms[3 * i] = placement.scale;
        transforms[3 * i + 1] = static_cast<float>(placement.pad_x);
        transforms[3 * i + 2] = static_cast<float>(placement.pad_y);
    }

    auto write_row = [&](const ImagePlan &plan, int y, float *first, std::vector<int> &blended) {
        const LetterboxPlacement &placement = plan.placement;
        bool inside = placement.pad_y <= y && y < placement.pad_y + placement.height;
        int left = inside ? placement.pad_x : params.out_width;
        int right = inside ? params.out_width - placement.pad_x - placement.width : 0;
        float *pixels[3];
        for (int c = 0; c < 3; ++c) {
            float *row = first + c * plane;
            float pad = table[c][params.pad_value[c]];
            std::fill_n(row, left, pad);
            std::fill_n(row + params.out_width - right, right, pad);
            pixels[c] = row + left;
        }
        if (inside) {
            BilinearTap tap = bilinear_tap(y - placement.pad_y, plan.image.height, placement.height);
            int64_t count = 3 * static_cast<int64_t>(plan.image.width);
            blended.resize(count);
            blend_rows(plan.image.data + tap.low * plan.image.pitch_bytes,
                       plan.image.data + tap.high * plan.image.pitch_bytes, tap.weight, count, blended.data());
            blend_columns(plan.columns, blended.data(), channel, table, pixels);
        }
    };
    parallel_for(static_cast<int64_t>(params.batch) * params.out_height, kRowsPerPiece, num_threads,
                 [&](int64_t begin, int64_t end) {
                     std::vector<int> blended;
                     for (int64_t row = begin; row < end; ++row) {
                         int64_t image = row / params.out_height;
                         int y = static_cast<int>(row % params.out_height);
                         float *first = output + image * 3 * plane + static_cast<int64_t>(y) * params.out_width;
                         write_row(plans[image], y, first, blended);
                     }
                 });
}

}  // namespace retinaface
