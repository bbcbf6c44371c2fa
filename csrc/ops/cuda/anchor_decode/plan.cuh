#pragma once

#include <cstdint>

#include "ops/anchor_decode.h"

namespace retinaface {

/// Cells looked at by one block of the first kernel, of one anchor: the unit in which candidates are
/// stored. Fixed places for every tile's candidates need neither a counter nor its clearing, and the
/// number of each is written, not added to.
constexpr int kTileCells = 512;

/// Tiles of one image.
constexpr int kMaxTiles = kMaxAnchorsPerImage / kTileCells + kMaxLevels * kMaxAnchorsPerCell;

/// A tile's number of candidates in shared memory: half an int, so that those of all tiles fit there.
using TileCount = uint16_t;
static_assert(kTileCells <= UINT16_MAX, "a tile's count must fit");

constexpr int kIndexBits = 22;
static_assert(kMaxAnchorsPerImage <= 1 << kIndexBits, "an anchor's index must fit");

/// One level as the kernels see it.
struct LevelPlan {
    const void *logits;
    const void *box_deltas;
    const void *landmark_deltas;
    const void *anchor_deltas;
    int num_cells, width, stride, num_anchors;
    int first_anchor;  // in the order of all anchors of an image
    int first_tile;
    int tiles_per_anchor;
    bool aligned;  // four neighbouring cells of every plane lie in one aligned piece of memory
    AnchorSize anchor_sizes[kMaxAnchorsPerCell];
};

/// Everything that does not depend on the data; travels as a kernel parameter.
struct DecodePlan {
    LevelPlan levels[kMaxLevels];
    int num_levels;
    int num_tiles;  // of one image
    int top_k;
    bool has_landmarks;
    bool cascade;
    float margin_threshold;
    float centre_variance, size_variance;
    uint32_t lowest_score;  // no candidate lies below, in the upper half of its key
    int rank_bits;          // in which any candidate's rank_of fits
    int place_shift;        // anchors whose indices agree above these bits are read together
};

/// One of the K best: its anchor and its place in the order of scores.
struct alignas(8) SelectedAnchor {  // loaded and stored at once
    int32_t index, slot;
};

/// scores, indices [N, tiles, kTileCells]: the upper and lower halves of the candidates' order_key, apart
/// because most are told apart by the score alone; tile_counts [N, tiles]; selected [N, K], neighbours in the
/// map roughly together; progress [N]: see decode_selected_kernel.
struct DecodeWorkspace {
    uint32_t *scores;
    uint32_t *indices;
    int32_t *tile_counts;
    SelectedAnchor *selected;
    uint32_t *progress;
};

}  // namespace retinaface
