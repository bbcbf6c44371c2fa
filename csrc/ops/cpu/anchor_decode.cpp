#include "ops/anchor_decode.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "common/parallel.h"
#include "common/simd.h"
#include "math/decode.h"
#include "math/order.h"

namespace retinaface {
namespace {

constexpr int64_t kBlock = 256;  // cells tested together; few blocks contain a face

/// Whether any margin is above the threshold. Almost always false, so most time is spent in this loop.
RF_SIMD_CLONES
bool any_above(const float *background, const float *face, int64_t count, float threshold) {
    int hits = 0;
    for (int64_t i = 0; i < count; ++i) {
        hits |= face[i] - background[i] > threshold;
    }
    return hits != 0;
}

/// The position of an anchor in the heads.
struct AnchorPlace {
    int level, anchor;
    int64_t cell;
};

class ImageDecoder {
  public:
    ImageDecoder(const AnchorDecodeParams &params, const AnchorDecodeInputs &inputs, int image)
        : params_(params), inputs_(inputs), image_(image), margin_threshold_(margin_threshold(params.score_threshold)) {
        for (int level = 0; level < params.num_levels; ++level) {
            first_anchor_[level + 1] = first_anchor_[level] + cells(level) * params.levels[level].num_anchors;
        }
    }

    void run(float *boxes, float *scores, float *landmarks, int32_t *count) const {
        std::vector<uint64_t> keys = candidates();
        auto end = keys.begin() + std::min<int64_t>(params_.top_k, keys.size());
        if (end != keys.end()) {
            std::nth_element(keys.begin(), end, keys.end(), std::greater<>());
        }
        std::sort(keys.begin(), end, std::greater<>());
        int kept = 0;
        for (auto key = keys.begin(); key != end; ++key) {
            float *points = landmarks == nullptr ? nullptr : landmarks + kept * kLandmarkValues;
            if (decode(place_of(index_of_key(*key)), boxes + kept * 4, points)) {
                scores[kept++] = score_of_key(*key);
            }
        }
        *count = kept;
        int left = params_.top_k - kept;
        std::fill_n(boxes + kept * 4, left * 4, 0.0f);
        std::fill_n(scores + kept, left, 0.0f);
        if (landmarks != nullptr) {
            std::fill_n(landmarks + kept * kLandmarkValues, left * kLandmarkValues, 0.0f);
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
        int num_anchors = params_.levels[level].num_anchors;
        const float *background = plane(inputs_.logits[level], level, 2 * num_anchors, 2 * anchor);
        const float *face = background + cells(level);
        for (int64_t begin = 0; begin < cells(level); begin += kBlock) {
            int64_t end = std::min(begin + kBlock, cells(level));
            if (!any_above(background + begin, face + begin, end - begin, margin_threshold_)) {
                continue;
            }
            for (int64_t cell = begin; cell < end; ++cell) {
                float margin = face[cell] - background[cell];
                if (margin > margin_threshold_ && is_finite(margin)) {
                    int64_t index = first_anchor_[level] + cell * num_anchors + anchor;
                    keys.push_back(order_key(face_score(margin), static_cast<uint32_t>(index)));
                }
            }
        }
    }

    AnchorPlace place_of(int64_t index) const {
        int level = 0;
        while (index >= first_anchor_[level + 1]) {
            ++level;
        }
        int64_t within = index - first_anchor_[level];
        int num_anchors = params_.levels[level].num_anchors;
        return {level, static_cast<int>(within % num_anchors), within / num_anchors};
    }

    /// Applies the box deltas of a head to the anchor.
    Anchor moved(const Anchor &anchor, const void *head, const AnchorPlace &place) const {
        int num_anchors = params_.levels[place.level].num_anchors;
        float deltas[4];
        for (int i = 0; i < 4; ++i) {
            deltas[i] = plane(head, place.level, 4 * num_anchors, 4 * place.anchor + i)[place.cell];
        }
        return move_anchor(anchor, deltas, params_.centre_variance, params_.size_variance);
    }

    /// Writes the box and, unless null, the landmarks. Returns false if a value is not finite.
    bool decode(const AnchorPlace &place, float *box_out, float *points) const {
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
        if (points == nullptr) {
            return finite;
        }
        const float *p = plane(inputs_.landmark_deltas[place.level], place.level, kLandmarkValues * level.num_anchors,
                               kLandmarkValues * place.anchor) +
                         place.cell;
        for (int i = 0; i < kLandmarkValues; ++i) {
            points[i] = decode_landmark(anchor, i, p[i * cells(place.level)], params_.centre_variance);
            finite = finite && is_finite(points[i]);
        }
        return finite;
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
    parallel_for(params.batch, 1, num_threads, [&](int64_t begin, int64_t end) {
        for (int64_t image = begin; image < end; ++image) {
            int64_t first = image * params.top_k;
            ImageDecoder(params, inputs, static_cast<int>(image))
                .run(outputs.boxes + first * 4, outputs.scores + first,
                     params.has_landmarks ? outputs.landmarks + first * kLandmarkValues : nullptr,
                     outputs.count + image);
        }
    });
}

}  // namespace retinaface
