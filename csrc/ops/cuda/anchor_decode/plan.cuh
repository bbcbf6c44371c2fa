#pragma once

#include <cstdint>

#include "ops/anchor_decode.h"

namespace retinaface {

/// Cells that one block of the first kernel tests, for one anchor. Candidates are stored by tile, each tile's at a
/// fixed place: this needs no counter to clear, and a tile's count is written, not added to.
constexpr int kTileCells = 512;

constexpr int kIndexBits = 22;
static_assert(kMaxAnchorsPerImage <= 1 << kIndexBits, "an anchor's index must fit");

/// The candidates of a tile are stored by bins of scores, the highest first. So candidates of a range of scores are
/// found without reading the others.
constexpr int kScoreBinBits = 8;
constexpr int kScoreBins = 1 << kScoreBinBits;
static_assert(kTileCells <= UINT16_MAX, "a bin's end must fit");

constexpr int kMaxPayloadHeads = 1 + kMaxValueHeads;

/// One level as the kernels see it.
struct LevelPlan {
    const void *logits;
    const void *box_deltas;
    const void *anchor_deltas;
    const void *payload[kMaxPayloadHeads];  // landmark_deltas, then values
    int num_cells, width, stride, num_anchors;
    int first_anchor;  // in the order of all anchors of an image
    int first_tile;    // likewise, whatever the classes are
    int tiles_per_anchor;
    bool aligned;  // the logits of four neighbouring cells can be loaded at once
    AnchorSize anchor_sizes[kMaxAnchorsPerCell];
};

/// Everything that does not depend on the data; passed as a kernel parameter.
struct DecodePlan {
    LevelPlan levels[kMaxLevels];
    int num_levels;
    int num_tiles;  // of one image: of a tile of cells, one for each class but the background
    int top_k;
    int num_classes;
    int found_classes;  // without the background
    bool sigmoid;
    int payload_size;
    int payload_sizes[kMaxPayloadHeads];  // of an anchor's values in each head
    bool has_landmarks;
    bool cascade;
    float margin_threshold;
    float centre_variance, size_variance;
    uint32_t lowest_score;  // a lower bound of the upper halves of the candidates' keys
    int score_shift;        // candidates whose scores agree above these bits are in the same bin
    int place_shift;        // list_selected puts anchors whose indices agree above these bits together
    uint32_t point_heads;   // bit for bit, whether a payload head's values are deltas of points
};

/// The level that a tile of cells, or an anchor, is in: the last whose first one is not behind it.
template <int LevelPlan::*kFirst>
__device__ __forceinline__ int level_of(const DecodePlan &plan, int index) {
    int l = 0;
    while (l + 1 < plan.num_levels && index >= plan.levels[l + 1].*kFirst) {
        ++l;
    }
    return l;
}

/// The bin of a candidate's key.
__device__ __forceinline__ int score_bin(uint64_t key, const DecodePlan &plan) {
    const uint32_t score = static_cast<uint32_t>(key >> 32) - plan.lowest_score;
    return kScoreBins - 1 - static_cast<int>(score >> plan.score_shift);
}

/// One of the K best: its index among the candidates and its place in the order of scores.
struct alignas(8) SelectedAnchor {  // one load or store
    int32_t index, slot;
};

/// scores, indices [N, tiles, kTileCells]: the upper and lower halves of the candidates' order_key, in two arrays
/// because the score alone decides most comparisons; tile_counts [N, tiles]; bin_ends [N, tiles, kScoreBins]: the
/// places in the tile where its bins end, undefined if it has no candidates; selected [N, K], roughly in the order of
/// the anchors; progress [N]: see decode_selected_kernel.
struct DecodeWorkspace {
    uint32_t *scores;
    uint32_t *indices;
    int32_t *tile_counts;
    uint16_t *bin_ends;
    SelectedAnchor *selected;
    uint32_t *progress;
};

}  // namespace retinaface
