#include "ops/letterbox.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "common/parallel.h"
#include "common/simd.h"
#include "math/bilinear.h"

namespace retinaface {
namespace {

constexpr int64_t kRowsPerPiece = 32;
// A pixel is processed as four lanes of a vector register. The fourth is the next pixel's first channel; its result is
// overwritten or unused.
constexpr int kLanes = 4;

/// Where one output column reads in a row of pixels, and the weight of the second pixel.
struct ColumnTap {
    int low, high;  // offsets of the pixels' first channel
    int weight;
};

/// What all rows of an image use.
struct ImagePlan {
    ImageView image;
    LetterboxPlacement placement;
    std::vector<ColumnTap> columns;
};

/// Mean and std in the order of the image's channels.
struct Normalisation {
    float mean[kLanes], std[kLanes];
    bool divides;
};

/// One row: blended from two rows of the image, then resized and normalised.
struct RowBuffers {
    std::vector<int> blended;
    std::vector<float> pixels;
};

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

Normalisation normalisation_of(const LetterboxParams &params) {
    Normalisation result{{}, {1.0f, 1.0f, 1.0f, 1.0f}, false};
    for (int c = 0; c < 3; ++c) {
        int channel = params.swap_rb ? 2 - c : c;
        result.mean[channel] = params.mean[c];
        result.std[channel] = params.std[c];
        result.divides = result.divides || params.std[c] != 1.0f;
    }
    return result;
}

/// Mixes two rows. Before blend_columns, because here consecutive inputs give consecutive outputs.
RF_SIMD_CLONES
void blend_rows(const uint8_t *top, const uint8_t *bottom, int weight, int64_t count, int *blended) {
    for (int64_t i = 0; i < count; ++i) {
        blended[i] = bilinear_blend(top[i], bottom[i], weight);
    }
}

/// Mixes neighbouring pixels of a row, in HWC order. Both rows end with one unused lane.
RF_SIMD_CLONES
void blend_columns(const ColumnTap *columns, int64_t count, const int *row, const Normalisation &normalisation,
                   float *out) {
    float mean[kLanes], std[kLanes];
    std::memcpy(mean, normalisation.mean, sizeof(mean));
    std::memcpy(std, normalisation.std, sizeof(std));
    const bool divides = normalisation.divides;
    for (int64_t x = 0; x < count; ++x) {
        const int *low = row + columns[x].low, *high = row + columns[x].high;
        const int weight = columns[x].weight;
        float pixel[kLanes];
        for (int lane = 0; lane < kLanes; ++lane) {
            int level = bilinear_round(bilinear_blend(low[lane], high[lane], weight));
            pixel[lane] = static_cast<float>(level) - mean[lane];
        }
        if (divides) {  // dividing by 1 changes no bit
            for (int lane = 0; lane < kLanes; ++lane) {
                pixel[lane] /= std[lane];
            }
        }
        std::memcpy(out + 3 * x, pixel, sizeof(pixel));
    }
}

/// Replaces blending if the image keeps its size.
RF_SIMD_CLONES
void normalise_row(const uint8_t *row, int64_t width, const Normalisation &normalisation, float *out) {
    constexpr int kBlock = 12;  // whole pixels, and whole vector registers
    float mean[kBlock], std[kBlock];
    for (int i = 0; i < kBlock; ++i) {
        mean[i] = normalisation.mean[i % 3];
        std[i] = normalisation.std[i % 3];
    }
    const bool divides = normalisation.divides;
    const int64_t count = 3 * width;
    int64_t begin = 0;
    for (; begin + kBlock <= count; begin += kBlock) {
        for (int i = 0; i < kBlock; ++i) {
            float value = static_cast<float>(row[begin + i]) - mean[i];
            out[begin + i] = divides ? value / std[i] : value;
        }
    }
    for (int i = 0; begin + i < count; ++i) {
        out[begin + i] = normalise(row[begin + i], mean[i], std[i]);
    }
}

/// Splits a row of pixels into one row per channel.
RF_SIMD_CLONES
void split_channels(const float *pixels, int64_t count, float *first, float *second, float *third) {
    for (int64_t x = 0; x < count; ++x) {
        first[x] = pixels[3 * x];
        second[x] = pixels[3 * x + 1];
        third[x] = pixels[3 * x + 2];
    }
}

/// Copies a row of pixels with the first and the last channel exchanged.
void swap_channels(const float *pixels, int64_t count, float *out) {
    for (int64_t x = 0; x < count; ++x) {
        out[3 * x] = pixels[3 * x + 2];
        out[3 * x + 1] = pixels[3 * x + 1];
        out[3 * x + 2] = pixels[3 * x];
    }
}

class BatchWriter {
  public:
    BatchWriter(const LetterboxParams &params, HostLayout layout, float *output)
        : params_(params), layout_(layout), output_(output), normalisation_(normalisation_of(params)) {
        for (int c = 0; c < 3; ++c) {
            pad_[c] = normalise(params.pad_value[c], params.mean[c], params.std[c]);
        }
    }

    /// Writes row `y` of image `index` of the batch.
    void write_row(const ImagePlan &plan, int index, int y, RowBuffers &buffers) const {
        const LetterboxPlacement &placement = plan.placement;
        bool inside = placement.pad_y <= y && y < placement.pad_y + placement.height;
        if (!inside) {
            pad(index, y, 0, params_.out_width);
            return;
        }
        int right = placement.pad_x + placement.width;
        pad(index, y, 0, placement.pad_x);
        pad(index, y, right, params_.out_width);

        int source = y - placement.pad_y;
        buffers.pixels.resize(3 * static_cast<int64_t>(placement.width) + 1);
        if (placement.width == plan.image.width && placement.height == plan.image.height) {
            normalise_row(plan.image.data + source * plan.image.pitch_bytes, placement.width, normalisation_,
                          buffers.pixels.data());
        } else {
            resize_row(plan, bilinear_tap(source, plan.image.height, placement.height), buffers);
        }
        store(index, y, placement.pad_x, buffers.pixels.data(), placement.width);
    }

  private:
    int64_t pixel_index(int y, int x) const { return static_cast<int64_t>(y) * params_.out_width + x; }
    int64_t plane() const { return static_cast<int64_t>(params_.out_height) * params_.out_width; }
    float *image(int index) const { return output_ + 3 * plane() * index; }

    void resize_row(const ImagePlan &plan, const BilinearTap &tap, RowBuffers &buffers) const {
        int64_t count = 3 * static_cast<int64_t>(plan.image.width);
        buffers.blended.resize(count + 1);
        blend_rows(plan.image.data + tap.low * plan.image.pitch_bytes,
                   plan.image.data + tap.high * plan.image.pitch_bytes, tap.weight, count, buffers.blended.data());
        blend_columns(plan.columns.data(), plan.placement.width, buffers.blended.data(), normalisation_,
                      buffers.pixels.data());
    }

    void pad(int index, int y, int begin, int end) const {
        if (layout_ == HostLayout::kChannelsFirst) {
            for (int c = 0; c < 3; ++c) {
                float *row = image(index) + c * plane() + pixel_index(y, 0);
                std::fill(row + begin, row + end, pad_[c]);
            }
            return;
        }
        float *row = image(index) + 3 * pixel_index(y, 0);
        for (int x = begin; x < end; ++x) {
            row[3 * x] = pad_[0];
            row[3 * x + 1] = pad_[1];
            row[3 * x + 2] = pad_[2];
        }
    }

    void store(int index, int y, int x, const float *pixels, int count) const {
        if (layout_ == HostLayout::kChannelsFirst) {
            float *row = image(index) + pixel_index(y, x);
            float *first = row, *last = row + 2 * plane();
            if (params_.swap_rb) {
                std::swap(first, last);
            }
            split_channels(pixels, count, first, row + plane(), last);
            return;
        }
        float *row = image(index) + 3 * pixel_index(y, x);
        if (params_.swap_rb) {
            swap_channels(pixels, count, row);
        } else {
            std::copy_n(pixels, 3 * static_cast<int64_t>(count), row);
        }
    }

    const LetterboxParams &params_;
    HostLayout layout_;
    float *output_;
    Normalisation normalisation_;
    float pad_[3];
};

}  // namespace

void letterbox_cpu(const LetterboxParams &params, const ImageView *images, float *output, float *transforms,
                   HostLayout layout, int num_threads) {
    std::vector<ImagePlan> plans;
    for (int i = 0; i < params.batch; ++i) {
        plans.push_back(plan_of(images[i], params));
        const LetterboxPlacement &placement = plans.back().placement;
        transforms[3 * i] = placement.scale;
        transforms[3 * i + 1] = static_cast<float>(placement.pad_x);
        transforms[3 * i + 2] = static_cast<float>(placement.pad_y);
    }
    const BatchWriter writer(params, layout, output);
    parallel_for(static_cast<int64_t>(params.batch) * params.out_height, kRowsPerPiece, num_threads,
                 [&](int64_t begin, int64_t end) {
                     RowBuffers buffers;
                     for (int64_t row = begin; row < end; ++row) {
                         int image = static_cast<int>(row / params.out_height);
                         writer.write_row(plans[image], image, static_cast<int>(row % params.out_height), buffers);
                     }
                 });
}

}  // namespace retinaface
