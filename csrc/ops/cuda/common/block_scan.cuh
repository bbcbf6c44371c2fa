#pragma once

#include "ops/cuda/common/warp.cuh"

namespace retinaface {

/// Inclusive sum over the threads of a block of kThreads threads; *total is the sum over all of them. `warp_sums` is
/// shared memory for one int per warp. Begins with a barrier, so it may be called again at once.
template <int kThreads>
__device__ __forceinline__ int block_inclusive_sum(int mine, int *warp_sums, int *total) {
    constexpr int kWarps = kThreads / kWarpSize;
    static_assert(kThreads % kWarpSize == 0 && kWarps <= kWarpSize, "whole warps, whose sums fit one warp");
    const int lane = lane_index(), warp = warp_index();
    int sum = mine;
#pragma unroll
    for (int distance = 1; distance < kWarpSize; distance *= 2) {
        int other = __shfl_up_sync(kFullMask, sum, distance);
        sum += lane >= distance ? other : 0;
    }
    __syncthreads();
    if (lane == kWarpSize - 1) {
        warp_sums[warp] = sum;
    }
    __syncthreads();
    int warps_sum = lane < kWarps ? warp_sums[lane] : 0;
#pragma unroll
    for (int distance = 1; distance < kWarps; distance *= 2) {
        int other = __shfl_up_sync(kFullMask, warps_sum, distance);
        warps_sum += lane >= distance ? other : 0;
    }
    *total = __shfl_sync(kFullMask, warps_sum, kWarps - 1);
    int before = __shfl_sync(kFullMask, warps_sum, warp > 0 ? warp - 1 : 0);
    return sum + (warp > 0 ? before : 0);
}

}  // namespace retinaface
