#pragma once

#include "math/margin.h"
#include "ops/cuda/anchor_decode/collect.cuh"

namespace retinaface {

/// Blocks per multiprocessor: asking for more registers than the compiler takes by itself avoids spills.
constexpr int kCollectClassesBlocks = 8;

/// The logits of an anchor in a cell, by class; with sigmoid the background has none.
template <typename T>
struct ClassLogits {
    const T *first;  // of class 0, or where it would be
    int64_t step;

    __device__ __forceinline__ float operator()(int c) const { return to_float(first[c * step]); }
};

/// collect_candidates_kernel for any number of classes, and for sigmoid. Each class has tiles of its own.
///
/// Grid (tiles of cells of all levels and anchors, images). A block reads its part of the planes of class logits once,
/// and keeps an upper bound of each cell's margins; most blocks end there. Only in cells whose bound passes are the
/// logits read again, from the cache, for the margin of each class.
template <typename T>
__global__ void __launch_bounds__(kCollectThreads, kCollectClassesBlocks)
    collect_classes_kernel(const __grid_constant__ DecodePlan plan, DecodeWorkspace workspace) {
    __shared__ CollectStorage s;
    __shared__ float own_margins[kTileCells];
    let_next_kernel_start();
    const int tile = blockIdx.x, image = blockIdx.y, thread = thread_index();

    const LevelPlan &level = plan.levels[level_of<&LevelPlan::first_tile>(plan, tile)];
    const int anchor = (tile - level.first_tile) / level.tiles_per_anchor;
    const int first = (tile - level.first_tile) % level.tiles_per_anchor * kTileCells + thread;
    const int logits_per_anchor = plan.sigmoid ? plan.found_classes : plan.num_classes;
    const int64_t plane = (static_cast<int64_t>(image) * level.num_anchors + anchor) * logits_per_anchor;
    const T *class_0 =
        static_cast<const T *>(level.logits) + (plane - (plan.sigmoid ? 1 : 0)) * static_cast<int64_t>(level.num_cells);
    auto logits_of = [&](int cell) { return ClassLogits<T>{class_0 + cell, level.num_cells}; };

    BestLogit bounds[kCellsPerThread];
    for (int c = plan.sigmoid ? 1 : 0; c < plan.num_classes; ++c) {
#pragma unroll
        for (int i = 0; i < kCellsPerThread; ++i) {
            const int cell = first + i * kCollectThreads;
            const float logit = cell < level.num_cells ? logits_of(cell)(c) : -INFINITY;
            if (c == 0) {
                bounds[i].rest = logit;
            } else {
                bounds[i].add(logit);
            }
        }
    }
    uint32_t open = 0;  // the cells that may have a candidate
#pragma unroll
    for (int i = 0; i < kCellsPerThread; ++i) {
        const bool passing = bounds[i].best - (plan.sigmoid ? 0.0f : bounds[i].rest) > plan.margin_threshold;
        open |= passing ? 1u << i : 0;
    }
    const int64_t place = static_cast<int64_t>(image) * plan.num_tiles + tile * plan.found_classes;
    if (__syncthreads_or(open != 0 ? 1 : 0) == 0) {
        for (int c = thread; c < plan.found_classes; c += kCollectThreads) {
            workspace.tile_counts[place + c] = 0;
        }
        return;
    }

    for (int c = 1; c < plan.num_classes; ++c) {
        // Cell by cell, and through shared memory: four margins at once need more registers than there are.
#pragma unroll 1
        for (int i = 0; i < kCellsPerThread; ++i) {
            const ClassLogits<T> logits = logits_of(first + i * kCollectThreads);
            float margin = -INFINITY;
            if (has_bit(open, i)) {
                margin = plan.sigmoid ? logits(c) : softmax_margin(logits, plan.num_classes, c, plan.margin_threshold);
            }
            own_margins[i * kCollectThreads + thread] = margin;
        }
        float margins[kCellsPerThread];
        bool any = false;
#pragma unroll
        for (int i = 0; i < kCellsPerThread; ++i) {
            margins[i] = own_margins[i * kCollectThreads + thread];
            any = any || passes(margins[i], plan);
        }
        for (int bin = thread; bin < kScoreBins; bin += kCollectThreads) {
            s.bins[bin] = 0;
        }
        if (__syncthreads_or(any ? 1 : 0) == 0) {
            if (thread == 0) {
                workspace.tile_counts[place + c - 1] = 0;
            }
            continue;
        }
        store_survivors(s, plan, workspace, place + c - 1, margins, [&](int i) {
            const int cell = first + i * kCollectThreads;
            return (level.first_anchor + cell * level.num_anchors + anchor) * plan.found_classes + c - 1;
        });
    }
}

}  // namespace retinaface
