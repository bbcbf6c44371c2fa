#pragma once

#include <cstdint>

#include "ops/batched_nms.h"

namespace retinaface {

/// Candidates that one block decides about: as many as one warp settles without a barrier (four per lane).
constexpr int kNmsTile = 128;
constexpr int kNmsWords = kNmsTile / 32;

/// What the first kernel found out about an image.
struct NmsOrder {
    int32_t count;     // candidates with a finite score
    int32_t in_order;  // they came in order: places are slots, and the caller's boxes are used
};

/// order [N]; verdicts [N, tiles, kNmsWords], see publish(); slots [N, K] and boxes [N, K]: of the
/// candidates in order, where they had to be sorted; detection [N, K] (voting only): which detection's
/// box a candidate votes for, -1 for none; ticket [1].
struct NmsWorkspace {
    NmsOrder *order;
    uint64_t *verdicts;
    int32_t *slots;
    float4 *boxes;
    int16_t *detection;
    uint32_t *ticket;
    int num_tiles;
};

}  // namespace retinaface
