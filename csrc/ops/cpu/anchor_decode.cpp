#include "ops/anchor_decode.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "common/parallel.h"
#include "common/simd.h"
#include "math/decode.h"
#include "math/margin.h"
#include "math/order.h"

namespace retinaface {
namespace {

constexpr int64_t kBlock = 256;  // cells tested together; few blocks contain a face

/// Whether any difference is above the threshold. Almost always false, so most time is spent in this loop.
RF_SIMD_CLONES
bool any_above(const float *rest, const float *best, int64_t count, float threshold) {
    int hits = 0;
    for (int64_t i = 0; i < count; ++i) {
        hits |= best[i] - rest[i] > threshold;
    }
    return hits != 0;
}

/// Takes in another class's logits; see BestLogit.
RF_SIMD_CLONES
void add_class(const float *logits, int64_t count, float *best, float *rest) {
    for (int64_t i = 0; i < count; ++i) {
        const float logit = logits[i], lower = logit > best[i] ? best[i] : logit;
        best[i] = logit > best[i] ? logit : best[i];
        rest[i] = lower > rest[i] ? lower : rest[i];
    }
}

/// The class logits of an image's anchor of all cells of a level: a plane for each class that has one.
struct ClassPlanes {
    const float *first;
    int64_t cells;
    int num_classes;
    bool sigmoid;

    const float *plane(int c) const { return first + (sigmoid ? c - 1 : c) * cells; }

    /// The margin of a class, or another value that is not above the threshold either.
    float margin(int64_t cell, int c, float threshold) const {
        if (sigmoid) {
            return plane(c)[cell];
        }
        return num_classes == 2 ? plane(1)[cell] - plane(0)[cell]
                                : softmax_margin([&](int j) { return plane(j)[cell]; }, num_classes, c, threshold);
    }
};

/// An upper bound of the margins of all classes, for a block of cells: best - rest.
class BlockBounds {
  public:
    BlockBounds(const ClassPlanes &planes, int64_t begin, int64_t end) : best(best_), rest(rest_) {
        const int64_t count = end - begin;
        if (planes.num_classes == 2) {
            best = planes.plane(1) + begin;
            rest = planes.sigmoid ? kZeros : planes.plane(0) + begin;
            return;
        }
        std::fill_n(best_, count, -INFINITY);
        if (planes.sigmoid) {
            for (int c = 1; c < planes.num_classes; ++c) {
                raise(planes.plane(c) + begin, count);
            }
            rest = kZeros;
            return;
        }
        std::copy_n(planes.plane(0) + begin, count, rest_);
        for (int c = 1; c < planes.num_classes; ++c) {
            add_class(planes.plane(c) + begin, count, best_, rest_);
        }
    }
    BlockBounds(const BlockBounds &) = delete;
    BlockBounds &operator=(const BlockBounds &) = delete;

    const float *best, *rest;

  private:
    static constexpr float kZeros[kBlock] = {};
    float best_[kBlock], rest_[kBlock];

    void raise(const float *logits, int64_t count) {
        for (int64_t i = 0; i < count; ++i) {
            best_[i] = logits[i] > best_[i] ? logits[i] : best_[i];
        }
    }
};

/// The position of a candidate in the heads, and its class.
struct Place {
    int level, anchor;
    int64_t cell;
    int32_t class_id;
};

class ImageDecoder {
  public:
    ImageDecoder(const AnchorDecodeParams &params, const AnchorDecodeInputs &inputs, int image)
        : params_(params), inputs_(inputs), image_(image), margin_threshold_(margin_threshold(params.score_threshold)) {
        for (int level = 0; level < params.num_levels; ++level) {
            first_anchor_[level + 1] = first_anchor_[level] + cells(level) * params.levels[level].num_anchors;
        }
    }

    /// `out` points at this image's results.
    void run(const AnchorDecodeOutputs &out) const {
        const int64_t payload = payload_size(params_);
        std::vector<uint64_t> keys = candidates();
        auto end = keys.begin() + std::min<int64_t>(params_.top_k, keys.size());
        if (end != keys.end()) {
            std::nth_element(keys.begin(), end, keys.end(), std::greater<>());
        }
        std::sort(keys.begin(), end, std::greater<>());
        int64_t kept = 0;
        for (auto key = keys.begin(); key != end; ++key) {
            const Place place = place_of(index_of_key(*key));
            if (decode(place, out.boxes + kept * 4, out.payload + kept * payload)) {
                if (out.classes != nullptr) {
                    out.classes[kept] = place.class_id;
                }
                out.scores[kept++] = score_of_key(*key);
            }
        }
        *out.count = static_cast<int32_t>(kept);
        const int64_t left = params_.top_k - kept;
        std::fill_n(out.boxes + kept * 4, left * 4, 0.0f);
        std::fill_n(out.scores + kept, left, 0.0f);
        std::fill_n(out.payload + kept * payload, left * payload, 0.0f);
        if (out.classes != nullptr) {
            std::fill_n(out.classes + kept, left, 0);
        }
    }

  private:
    int64_t cells(int level) const {
        return static_cast<int64_t>(params_.levels[level].height) * params_.levels[level].width;
    }

    /// Plane `channel` of this image in a level's head that has `channels` channels.
    const float *plane(const void *head, int level, int channels, int channel) const {
        return static_cast<const float *>(head) + (static_cast<int64_t>(image_) * channels + channel) * cells(level);
    }

    std::vector<uint64_t> candidates() const {
        std::vector<uint64_t> keys;
        for (int level = 0; level < params_.num_levels; ++level) {
            for (int anchor = 0; anchor < params_.levels[level].num_anchors; ++anchor) {
                collect(level, anchor, keys);
            }
        }
        return keys;
    }

    void collect(int level, int anchor, std::vector<uint64_t> &keys) const {
        const int num_anchors = params_.levels[level].num_anchors;
        const int logits = logits_per_anchor(params_);
        const ClassPlanes planes = {plane(inputs_.logits[level], level, logits * num_anchors, logits * anchor),
                                    cells(level), params_.num_classes, params_.sigmoid};
        for (int64_t begin = 0; begin < cells(level); begin += kBlock) {
            const int64_t end = std::min(begin + kBlock, cells(level));
            const BlockBounds bounds(planes, begin, end);
            if (!any_above(bounds.rest, bounds.best, end - begin, margin_threshold_)) {
                continue;
            }
            for (int64_t cell = begin; cell < end; ++cell) {
                if (bounds.best[cell - begin] - bounds.rest[cell - begin] > margin_threshold_) {
                    collect_classes(planes, first_anchor_[level] + cell * num_anchors + anchor, cell, keys);
                }
            }
        }
    }

    void collect_classes(const ClassPlanes &planes, int64_t anchor_index, int64_t cell,
                         std::vector<uint64_t> &keys) const {
        const int classes = params_.num_classes - 1;
        for (int c = 1; c <= classes; ++c) {
            const float margin = planes.margin(cell, c, margin_threshold_);
            if (margin > margin_threshold_ && is_finite(margin)) {
                const int64_t index = anchor_index * classes + c - 1;
                keys.push_back(order_key(face_score(margin), static_cast<uint32_t>(index)));
            }
        }
    }

    Place place_of(int64_t candidate) const {
        const int classes = params_.num_classes - 1;
        const int64_t index = candidate / classes;
        int level = 0;
        while (index >= first_anchor_[level + 1]) {
            ++level;
        }
        int64_t within = index - first_anchor_[level];
        int num_anchors = params_.levels[level].num_anchors;
        return {level, static_cast<int>(within % num_anchors), within / num_anchors,
                static_cast<int32_t>(candidate % classes + 1)};
    }

    /// Applies the box deltas of a head to the anchor.
    Anchor moved(const Anchor &anchor, const void *head, const Place &place) const {
        int num_anchors = params_.levels[place.level].num_anchors;
        float deltas[4];
        for (int i = 0; i < 4; ++i) {
            deltas[i] = plane(head, place.level, 4 * num_anchors, 4 * place.anchor + i)[place.cell];
        }
        return move_anchor(anchor, deltas, params_.centre_variance, params_.size_variance);
    }

    /// Writes the box and the payload. Returns false if a value is not finite.
    bool decode(const Place &place, float *box_out, float *payload) const {
        const AnchorLevel &level = params_.levels[place.level];
        int row = static_cast<int>(place.cell / level.width);
        int column = static_cast<int>(place.cell % level.width);
        AnchorSize size = level.anchor_sizes[place.anchor];
        Anchor anchor = anchor_at(row, column, level.stride, size.width, size.height);
        if (params_.cascade) {
            anchor = moved(anchor, inputs_.anchor_deltas[place.level], place);
        }
        Box box = box_of(moved(anchor, inputs_.box_deltas[place.level], place));
        box_out[0] = box.x1;
        box_out[1] = box.y1;
        box_out[2] = box.x2;
        box_out[3] = box.y2;
        bool finite = is_finite(box.x1) && is_finite(box.y1) && is_finite(box.x2) && is_finite(box.y2);
        float *const begin = payload;
        payload = decode_points(anchor, inputs_.landmark_deltas[place.level], place, 2 * params_.num_points, payload);
        for (int head = 0; head < params_.num_value_heads; ++head) {
            const void *const values = inputs_.values[head][place.level];
            const int size = params_.value_sizes[head];
            payload = params_.value_points[head] ? decode_points(anchor, values, place, size, payload)
                                                 : copy_values(values, place, size, payload);
        }
        return finite && std::all_of(begin, payload, [](float value) { return is_finite(value); });
    }

    /// Decodes a head's `count` deltas of points for an anchor, x y each, and returns the end of the results.
    float *decode_points(const Anchor &anchor, const void *head, const Place &place, int count, float *out) const {
        float *const end = copy_values(head, place, count, out);
        for (int i = 0; i < count; ++i) {
            out[i] = decode_landmark(anchor, i, out[i], params_.centre_variance);
        }
        return end;
    }

    /// Copies a head's `count` values for an anchor, and returns the end of the copy.
    float *copy_values(const void *head, const Place &place, int count, float *out) const {
        if (count == 0) {
            return out;
        }
        const int num_anchors = params_.levels[place.level].num_anchors;
        const float *values = plane(head, place.level, count * num_anchors, count * place.anchor) + place.cell;
        for (int i = 0; i < count; ++i) {
            out[i] = values[i * cells(place.level)];
        }
        return out + count;
    }

    const AnchorDecodeParams &params_;
    const AnchorDecodeInputs &inputs_;
    int image_;
    float margin_threshold_;
    int64_t first_anchor_[kMaxLevels + 1] = {};
};

}  // namespace

void anchor_decode_cpu(const AnchorDecodeParams &params, const AnchorDecodeInputs &inputs,
                       const AnchorDecodeOutputs &outputs, int num_threads) {
    const int64_t payload = payload_size(params);
    auto at = [](auto *array, int64_t place) { return array == nullptr ? nullptr : array + place; };
    parallel_for(params.batch, 1, num_threads, [&](int64_t begin, int64_t end) {
        for (int64_t image = begin; image < end; ++image) {
            int64_t first = image * params.top_k;
            ImageDecoder(params, inputs, static_cast<int>(image))
                .run({outputs.boxes + first * 4, outputs.scores + first, at(outputs.payload, first * payload),
                      outputs.count + image, at(outputs.classes, first)});
        }
    });
}

}  // namespace retinaface
