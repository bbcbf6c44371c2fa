#pragma once

#include <cstdint>

#include "common/landmarks.h"
#include "ops/batched_nms.h"
#include "ops/cuda/common/warp.cuh"

namespace retinaface {

/// Candidates that are settled at once, by one warp: four per lane.
constexpr int kNmsTile = 128;
/// A tile's candidates as bits: a ballot of a warp is a word.
constexpr int kNmsWords = kNmsTile / kWarpSize;

constexpr int kMaxNmsTiles = (kMaxNmsCandidates + kNmsTile - 1) / kNmsTile;

/// Whether candidates carry five landmarks, and nothing else.
constexpr __host__ __device__ bool carries_landmarks(const BatchedNmsParams &params) {
    return params.payload_size == kLandmarkValues;
}

/// The first kernel's result for an image.
struct NmsOrder {
    int32_t count;     // candidates with a finite score
    int32_t in_order;  // 1: the candidates were in order, places are slots, and the caller's boxes are used
};

/// 32 candidates of which some are kept.
struct KeptWord {
    uint32_t bits;
    int32_t before;  // detections of earlier words
};

/// Tiles of the first of two rounds: the result is often full after these, and then nothing behind them is tested.
/// Otherwise what is behind them is tested against those of them that are kept.
constexpr int kFirstRoundTiles = 8;

/// The tiles that a round tests and settles.
struct NmsRound {
    int first, end;
};

/// order [N]; slots [N, K] and boxes [N, K]: of the candidates in order, if they had to be sorted; finite [N, tiles,
/// kNmsWords]: a bit for each candidate whose box is finite; overlaps [N, overlap_words_before(tiles)], see
/// find_overlaps_kernel; kept [N, tiles, kNmsWords], after a round: of the tiles behind it, none; done [N]: whether the
/// first round has filled the result or settled all. For voting only: detection [N, K]: the detection whose box a
/// candidate votes for, -1 for none. For carry_kernel only: indices [N, M], in place of the caller's.
struct NmsWorkspace {
    NmsOrder *order;
    int32_t *slots;
    float4 *boxes;
    uint32_t *finite;
    uint32_t *overlaps;
    KeptWord *kept;
    int32_t *done;
    int16_t *detection;
    int32_t *indices;
    int num_tiles;  // of one image's candidates
};

/// The words of all tiles before `tile`. A tile has kNmsTile for each word of its own and of earlier candidates.
constexpr __host__ __device__ int64_t overlap_words_before(int tile) {
    return static_cast<int64_t>(tile) * (tile + 1) / 2 * kNmsWords * kNmsTile;
}

}  // namespace retinaface
