#include "ops/anchor_decode.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "common/check.h"

namespace retinaface {
namespace {

void require_range(const char *name, int64_t given, int64_t low, int64_t high) {
    require(low <= given && given <= high, name, " is ", given, ", expected ", low, " to ", high);
}

void require_positive(const char *name, float given) {
    require(std::isfinite(given) && given > 0.0f, name, " is ", given, ", expected a finite number above 0");
}

void validate_level(const AnchorLevel &level, int index) {
    auto check = [&](bool ok, const char *name, auto given, const char *expected) {
        require(ok, name, " of level ", index, " is ", given, ", expected ", expected);
    };
    check(level.height > 0, "height", level.height, "at least 1");
    check(level.width > 0, "width", level.width, "at least 1");
    check(level.stride > 0, "stride", level.stride, "at least 1 pixel");
    require(1 <= level.num_anchors && level.num_anchors <= kMaxAnchorsPerCell, "level ", index, " has ",
            level.num_anchors, " anchor sizes, expected 1 to ", kMaxAnchorsPerCell);
    for (int anchor = 0; anchor < level.num_anchors; ++anchor) {
        for (float side : {level.anchor_sizes[anchor].width, level.anchor_sizes[anchor].height}) {
            check(std::isfinite(side) && side > 0.0f, "an anchor size", side, "a finite number above 0");
        }
    }
}

void validate_payload(const AnchorDecodeParams &params) {
    require_range("number of points", params.num_points, 0, kMaxPoints);
    require_range("number of heads of values", params.num_value_heads, 0, kMaxValueHeads);
    for (int head = 0; head < params.num_value_heads; ++head) {
        require(1 <= params.value_sizes[head] && params.value_sizes[head] <= kMaxPayload, "size of values ", head,
                " is ", params.value_sizes[head], ", expected 1 to ", kMaxPayload);
        require(!params.value_points[head] || params.value_sizes[head] % 2 == 0, "size of values ", head, " is ",
                params.value_sizes[head], ", expected an even number: they are x and y of points");
    }
    require_range("values of an anchor behind its box", payload_size(params), 0, kMaxPayload);
}

}  // namespace

int logits_per_anchor(const AnchorDecodeParams &params) {
    return params.sigmoid ? params.num_classes - 1 : params.num_classes;
}

int payload_size(const AnchorDecodeParams &params) {
    return std::accumulate(params.value_sizes, params.value_sizes + params.num_value_heads, 2 * params.num_points);
}

void validate_classes(const AnchorDecodeParams &params) {
    require(2 <= params.num_classes && params.num_classes <= kMaxClasses, "number of classes is ", params.num_classes,
            ", expected 2 to ", kMaxClasses, ": class 0 is the background, the others are what is found");
}

void validate_anchor_decode(const AnchorDecodeParams &params) {
    require(params.batch >= 0, "batch is ", params.batch, ", expected at least 0");
    require_range("number of levels", params.num_levels, 1, kMaxLevels);
    for (int level = 0; level < params.num_levels; ++level) {
        validate_level(params.levels[level], level);
    }
    require_range("number of anchors per image", num_anchors_of(params), 1, kMaxAnchorsPerImage);
    validate_classes(params);
    require_range("number of anchors per image, times the classes but the background,", num_candidates_of(params), 1,
                  kMaxCandidatesPerImage);
    validate_payload(params);
    require_positive("centre variance", params.centre_variance);
    require_positive("size variance", params.size_variance);
    // NaN fails these comparisons.
    require(params.score_threshold >= 0.0f && params.score_threshold <= 1.0f, "score_threshold is ",
            params.score_threshold, ", expected 0 to 1");
    require_range("top_k", params.top_k, 1, kMaxTopK);
}

int64_t num_anchors_of(const AnchorDecodeParams &params) {
    int64_t sum = 0;
    for (int i = 0; i < params.num_levels; ++i) {
        const AnchorLevel &level = params.levels[i];
        // Clamped far above the limit, so that the sum cannot overflow 64 bits.
        int64_t cells = std::min<int64_t>(static_cast<int64_t>(level.height) * level.width, 1 << 30);
        sum += cells * level.num_anchors;
    }
    return sum;
}

int64_t num_candidates_of(const AnchorDecodeParams &params) {
    return num_anchors_of(params) * (params.num_classes - 1);
}

float margin_threshold(float score_threshold) {
    double t = score_threshold;
    return static_cast<float>(std::log(t / (1.0 - t)));  // t = 0 and t = 1 give the infinities
}

}  // namespace retinaface
