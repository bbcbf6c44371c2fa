#pragma once

#include <cstdint>

#include "ops/batched_nms.h"
#include "ops/cuda/common/warp.cuh"

namespace retinaface {

/// Candidates of one block. One warp settles them without a barrier, four per lane.
constexpr int kNmsTile = 128;
/// A tile's candidates as bits: a ballot of a warp is a word.
constexpr int kNmsWords = kNmsTile / kWarpSize;

/// The first kernel's result for an image.
struct NmsOrder {
    int32_t count;     // candidates with a finite score
    int32_t in_order;  // 1: the candidates were in order, places are slots, and the caller's boxes are used
};

/// order [N]; verdicts [N, tiles, kNmsWords], see publish(); slots [N, K] and boxes [N, K]: of the candidates in order,
/// if they had to be sorted; detection [N, K] (voting only): the detection whose box a candidate votes for, -1 for
/// none; ticket [1].
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
