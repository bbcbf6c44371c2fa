#pragma once

#include <cstdint>

#include "ops/cuda/deform_conv/plan.h"
#include "ops/cuda/deform_conv/tile.h"
#ifdef RETINAFACE_WGMMA
#include <cuda.h>
#endif

namespace retinaface {

/// Arrays in the workspace.
struct DeformConvWorkspace {
    // The weights of [group][step][output channel] as rows of kDeformRowBytes, in the order of packed_channel().
    unsigned char *weights;
    unsigned char *x;  // channels last, if the plan copies it
    float4 *partials;
    uint32_t *tickets;  // one for each tile; zero before the main kernel
};

template <typename T>
struct DeformConvArgs {
    DeformConvParams params;
    DeformConvPlan plan;
    DeformConvWorkspace workspace;
    const T *x;  // as given
    const T *weight, *offset, *bias, *mask;
    T *y;
#ifdef RETINAFACE_WGMMA
    CUtensorMap weight_map;  // of workspace.weights; only for devices that have TMA
#endif
};

/// The steps of one group between two changes of the sample places: `steps` = chunks * taps, from `first_step`.
struct DeformConvSpan {
    int piece, first_tap, taps, first_step, steps;
};

inline __device__ DeformConvSpan span_of(const DeformConvPlan &plan, int piece, int first_tap) {
    const int taps = min(plan.taps_per_pass, plan.taps - first_tap);
    return {piece, first_tap, taps, (piece * plan.taps + first_tap) * plan.chunks, plan.chunks * taps};
}

/// The output channel, within its tile, of a row of packed weights, where a warp multiplies kColumns columns of eight
/// rows: the two sums that a lane has of each column become neighbours of those of the next, so that it stores
/// consecutive channels.
template <int kColumns>
__device__ int packed_channel(int row) {
    constexpr int kRows = 8 * kColumns;
    return row / kRows * kRows + row % 8 / 2 * (2 * kColumns) + row % kRows / 8 * 2 + row % 2;
}

}  // namespace retinaface
