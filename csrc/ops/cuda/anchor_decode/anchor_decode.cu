#include <algorithm>

#include "common/aligned.h"
#include "math/decode.h"
#include "math/order.h"
#include "ops/anchor_decode.h"
#include "ops/cuda/anchor_decode/collect.cuh"
#include "ops/cuda/anchor_decode/collect_classes.cuh"
#include "ops/cuda/anchor_decode/plan.cuh"
#include "ops/cuda/anchor_decode/select.cuh"
#include "ops/cuda/anchor_decode/write.cuh"
#include "ops/cuda/anchor_decode/write_heads.cuh"
#include "ops/cuda/common/dependent_launch.cuh"
#include "ops/cuda/common/launch.cuh"
#include "ops/cuda/common/workspace.h"

// Three launches for a whole batch and all levels: collect the candidates above the threshold (all multiprocessors),
// choose and order the K best (up to four blocks per image), decode those (all multiprocessors).

namespace retinaface {
namespace {

/// Whether the heads are those of the published models: a face or none, with five landmarks or none.
bool is_published(const AnchorDecodeParams &params) {
    return params.num_classes == 2 && !params.sigmoid && params.num_value_heads == 0 &&
           (params.num_points == kLandmarkPoints || params.num_points == 0);
}

/// Sets the range of the candidates' scores. The computed sigmoid is a few units in the last place from the exact one,
/// so a margin above the threshold may give a score that far below the threshold's.
void set_score_range(DecodePlan &plan) {
    constexpr uint32_t kSlack = 16;
    auto bits_of = [](float score) { return static_cast<uint32_t>(order_key(score, 0) >> 32); };
    plan.lowest_score = std::max(bits_of(0.0f), bits_of(face_score(plan.margin_threshold)) - kSlack);
    while ((bits_of(1.0f) - plan.lowest_score) >> plan.score_shift >> kScoreBinBits != 0) {
        ++plan.score_shift;
    }
}

int tiles_per_anchor(const AnchorLevel &level) {
    return (level.height * level.width + kTileCells - 1) / kTileCells;
}

int tiles_of(const AnchorDecodeParams &params) {
    int tiles = 0;
    for (int i = 0; i < params.num_levels; ++i) {
        tiles += tiles_per_anchor(params.levels[i]) * params.levels[i].num_anchors;
    }
    return tiles;
}

DecodePlan make_plan(const AnchorDecodeParams &params, const AnchorDecodeInputs &inputs) {
    DecodePlan plan = {};
    plan.num_levels = params.num_levels;
    plan.num_classes = params.num_classes;
    plan.found_classes = params.num_classes - 1;
    plan.sigmoid = params.sigmoid;
    plan.num_tiles = tiles_of(params) * plan.found_classes;
    plan.top_k = params.top_k;
    plan.payload_size = payload_size(params);
    plan.payload_sizes[0] = 2 * params.num_points;
    std::copy_n(params.value_sizes, params.num_value_heads, plan.payload_sizes + 1);
    plan.point_heads = 1;  // the landmarks
    for (int head = 0; head < params.num_value_heads; ++head) {
        plan.point_heads |= static_cast<uint32_t>(params.value_points[head]) << (1 + head);
    }
    plan.has_landmarks = params.num_points != 0;
    plan.cascade = params.cascade;
    plan.margin_threshold = margin_threshold(params.score_threshold);
    plan.centre_variance = params.centre_variance;
    plan.size_variance = params.size_variance;
    set_score_range(plan);
    int first_anchor = 0, first_tile = 0;
    for (int i = 0; i < params.num_levels; ++i) {
        const AnchorLevel &from = params.levels[i];
        LevelPlan &level = plan.levels[i];
        level.logits = inputs.logits[i];
        level.box_deltas = inputs.box_deltas[i];
        level.anchor_deltas = inputs.anchor_deltas[i];
        level.payload[0] = inputs.landmark_deltas[i];
        for (int head = 0; head < params.num_value_heads; ++head) {
            level.payload[1 + head] = inputs.values[head][i];
        }
        level.num_cells = from.height * from.width;
        level.width = from.width;
        level.stride = from.stride;
        level.num_anchors = from.num_anchors;
        level.first_anchor = first_anchor;
        level.first_tile = first_tile;
        level.tiles_per_anchor = tiles_per_anchor(from);
        level.aligned = level.num_cells % kCellsPerThread == 0 &&
                        is_aligned(inputs.logits[i], kCellsPerThread * size_of(params.dtype));
        std::copy_n(from.anchor_sizes, kMaxAnchorsPerCell, level.anchor_sizes);
        first_anchor += level.num_cells * level.num_anchors;
        first_tile += level.tiles_per_anchor * level.num_anchors;
    }
    while ((first_anchor * plan.found_classes - 1) >> plan.place_shift >= kPlaceBins) {
        ++plan.place_shift;
    }
    return plan;
}

DecodeWorkspace carve(const AnchorDecodeParams &params, Workspace &workspace) {
    const size_t tiles = static_cast<size_t>(params.batch) * tiles_of(params) * (params.num_classes - 1);
    DecodeWorkspace arrays;
    arrays.scores = workspace.take<uint32_t>(tiles * kTileCells);
    arrays.indices = workspace.take<uint32_t>(tiles * kTileCells);
    arrays.tile_counts = workspace.take<int32_t>(tiles);
    arrays.bin_ends = workspace.take<uint16_t>(tiles * kScoreBins);
    arrays.selected = workspace.take<SelectedAnchor>(static_cast<size_t>(params.batch) * params.top_k);
    arrays.progress = workspace.take<uint32_t>(params.batch);
    return arrays;
}

template <typename T>
cudaError_t decode(const AnchorDecodeParams &params, const DecodePlan &plan, const DecodeWorkspace &workspace,
                   const AnchorDecodeOutputs &outputs, cudaStream_t stream) {
    const int batch = params.batch;
    const bool two_logits = params.num_classes == 2 && !params.sigmoid;
    cudaError_t status = launch(two_logits ? collect_candidates_kernel<T> : collect_classes_kernel<T>,
                                dim3(tiles_of(params), batch), kCollectThreads, 0, stream, plan, workspace);
    if (status != cudaSuccess) {
        return status;
    }
    const int slices = (plan.top_k + kSliceRanks - 1) / kSliceRanks;
    status = launch_dependent(select_candidates_kernel, dim3(slices, batch), kSelectThreads, stream, plan, workspace,
                              outputs.scores, outputs.count);
    if (status != cudaSuccess) {
        return status;
    }
    const int groups = (plan.top_k + kWriteThreads - 1) / kWriteThreads;
    if (is_published(params)) {
        return launch_dependent(decode_selected_kernel<T>, dim3(groups, batch), kWriteThreads, stream, plan, workspace,
                                outputs);
    }
    const int chunks = std::max(1, (plan.payload_size + kChunkValues - 1) / kChunkValues);
    return launch_dependent(decode_heads_kernel<T>, dim3(groups, batch, chunks), kWriteThreads, stream, plan, workspace,
                            outputs);
}

}  // namespace

size_t anchor_decode_workspace_bytes(const AnchorDecodeParams &params) {
    return workspace_bytes_of(params, carve);
}

cudaError_t anchor_decode_cuda(const AnchorDecodeParams &params, const AnchorDecodeInputs &inputs,
                               const AnchorDecodeOutputs &outputs, void *workspace, size_t workspace_bytes,
                               cudaStream_t stream) {
    if (params.batch == 0) {
        return cudaSuccess;
    }
    DecodeWorkspace arrays;
    cudaError_t status = open_workspace(params, carve, workspace, workspace_bytes, arrays);
    if (status != cudaSuccess) {
        return status;
    }
    if (!is_aligned(outputs.boxes, sizeof(float4)) || !is_aligned(outputs.payload, sizeof(float2))) {
        return cudaErrorMisalignedAddress;
    }
    const DecodePlan plan = make_plan(params, inputs);
    return dispatch(params.dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        return decode<T>(params, plan, arrays, outputs, stream);
    });
}

}  // namespace retinaface
