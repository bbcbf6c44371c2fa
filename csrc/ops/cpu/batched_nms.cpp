#include "ops/batched_nms.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "common/parallel.h"
#include "common/simd.h"
#include "math/box.h"
#include "math/decode.h"
#include "math/order.h"
#include "math/vote.h"

namespace retinaface {
namespace {

constexpr int32_t kAlive = -1;

/// One image's candidates in order, an array per quantity so that the inner loop vectorises.
struct Candidates {
    std::vector<int32_t> slot;
    std::vector<float> x1, y1, x2, y2, area;
    std::vector<int32_t> group;          // only candidates of the same group meet; empty: all do
    std::vector<int32_t> suppressed_by;  // kAlive, or the place of the candidate that suppressed it

    int size() const { return static_cast<int>(slot.size()); }
    Box box(int i) const { return {x1[i], y1[i], x2[i], y2[i]}; }
};

Candidates sorted_candidates(const float *boxes, const float *scores, const int32_t *groups, int count) {
    std::vector<uint64_t> keys;
    keys.reserve(count);
    for (int i = 0; i < count; ++i) {
        const float *b = boxes + 4 * static_cast<int64_t>(i);
        if (is_finite(scores[i]) && is_finite(b[0]) && is_finite(b[1]) && is_finite(b[2]) && is_finite(b[3])) {
            keys.push_back(order_key(scores[i], static_cast<uint32_t>(i)));
        }
    }
    std::sort(keys.begin(), keys.end(), std::greater<>());

    Candidates c;
    for (auto *column : {&c.x1, &c.y1, &c.x2, &c.y2, &c.area}) {
        column->reserve(keys.size());
    }
    c.slot.reserve(keys.size());
    for (uint64_t key : keys) {
        int slot = static_cast<int>(index_of_key(key));
        const float *b = boxes + 4 * static_cast<int64_t>(slot);
        c.slot.push_back(slot);
        c.x1.push_back(b[0]);
        c.y1.push_back(b[1]);
        c.x2.push_back(b[2]);
        c.y2.push_back(b[3]);
        c.area.push_back(area(Box{b[0], b[1], b[2], b[3]}));
        if (groups != nullptr) {
            c.group.push_back(groups[slot]);
        }
    }
    c.suppressed_by.assign(keys.size(), kAlive);
    return c;
}

/// Marks the living candidates after `kept` that overlap it.
RF_SIMD_CLONES
void suppress(Candidates &c, int kept, float iou_threshold) {
    const Box box = c.box(kept);
    const float box_area = c.area[kept];
    const int count = c.size();
    const float *x1 = c.x1.data(), *y1 = c.y1.data(), *x2 = c.x2.data(), *y2 = c.y2.data(), *areas = c.area.data();
    int32_t *suppressed_by = c.suppressed_by.data();
    for (int i = kept + 1; i < count; ++i) {
        float overlap = iou(box, box_area, Box{x1[i], y1[i], x2[i], y2[i]}, areas[i]);
        int32_t by = overlap > iou_threshold ? kept : kAlive;
        suppressed_by[i] = suppressed_by[i] == kAlive ? by : suppressed_by[i];
    }
}

/// As above, of the same group.
RF_SIMD_CLONES
void suppress_in_group(Candidates &c, int kept, float iou_threshold) {
    const Box box = c.box(kept);
    const float box_area = c.area[kept];
    const int count = c.size();
    const int32_t own = c.group[kept], *groups = c.group.data();
    const float *x1 = c.x1.data(), *y1 = c.y1.data(), *x2 = c.x2.data(), *y2 = c.y2.data(), *areas = c.area.data();
    int32_t *suppressed_by = c.suppressed_by.data();
    for (int i = kept + 1; i < count; ++i) {
        float overlap = iou(box, box_area, Box{x1[i], y1[i], x2[i], y2[i]}, areas[i]);
        int32_t by = (overlap > iou_threshold) & (groups[i] == own) ? kept : kAlive;
        suppressed_by[i] = suppressed_by[i] == kAlive ? by : suppressed_by[i];
    }
}

/// The mean of the kept box and the boxes that it suppressed, in their order.
Box vote(const Candidates &c, int kept, const float *scores) {
    BoxVote votes;
    votes.add(c.box(kept), scores[c.slot[kept]]);
    for (int i = kept + 1; i < c.size(); ++i) {
        if (c.suppressed_by[i] == kept) {
            votes.add(c.box(i), scores[c.slot[i]]);
        }
    }
    return votes.mean(c.box(kept));
}

/// `in` and `out` point at this image's data.
void nms_of_image(const BatchedNmsParams &params, const BatchedNmsInputs &in, const BatchedNmsOutputs &out) {
    int count = std::clamp(*in.count, 0, params.num_candidates);
    Candidates c = sorted_candidates(in.boxes, in.scores, params.class_agnostic ? nullptr : in.classes, count);
    const int64_t payload = params.payload_size;
    int kept = 0;
    for (int i = 0; i < c.size() && kept < params.max_detections; ++i) {
        if (c.suppressed_by[i] != kAlive) {
            continue;
        }
        Box box = c.box(i);
        if (c.group.empty()) {
            suppress(c, i, params.iou_threshold);
        } else {
            suppress_in_group(c, i, params.iou_threshold);
        }
        if (params.voting) {
            box = vote(c, i, in.scores);
        }
        out.boxes[4 * kept] = box.x1;
        out.boxes[4 * kept + 1] = box.y1;
        out.boxes[4 * kept + 2] = box.x2;
        out.boxes[4 * kept + 3] = box.y2;
        out.scores[kept] = in.scores[c.slot[i]];
        std::copy_n(in.payload + payload * c.slot[i], payload, out.payload + payload * kept);
        if (params.has_classes) {
            out.classes[kept] = in.classes[c.slot[i]];
        }
        if (out.indices != nullptr) {
            out.indices[kept] = c.slot[i];
        }
        ++kept;
    }
    *out.num_detections = kept;
    int left = params.max_detections - kept;
    std::fill_n(out.boxes + 4 * kept, 4 * left, 0.0f);
    std::fill_n(out.scores + kept, left, 0.0f);
    std::fill_n(out.payload + payload * kept, payload * left, 0.0f);
    if (params.has_classes) {
        std::fill_n(out.classes + kept, left, 0);
    }
    if (out.indices != nullptr) {
        std::fill_n(out.indices + kept, left, -1);
    }
}

}  // namespace

void batched_nms_cpu(const BatchedNmsParams &params, const BatchedNmsInputs &inputs, const BatchedNmsOutputs &outputs,
                     int num_threads) {
    const int64_t payload = params.payload_size;
    auto at = [](auto *array, int64_t place) { return array == nullptr ? nullptr : array + place; };
    parallel_for(params.batch, 1, num_threads, [&](int64_t begin, int64_t end) {
        for (int64_t image = begin; image < end; ++image) {
            int64_t in = image * params.num_candidates;
            int64_t out = image * params.max_detections;
            nms_of_image(params,
                         {inputs.boxes + 4 * in, inputs.scores + in, at(inputs.payload, payload * in),
                          inputs.count + image, at(inputs.classes, in)},
                         {outputs.num_detections + image, outputs.boxes + 4 * out, outputs.scores + out,
                          at(outputs.payload, payload * out), at(outputs.indices, out), at(outputs.classes, out)});
        }
    });
}

}  // namespace retinaface
