#pragma once

namespace retinaface {

/// Sum of `mine` over this thread and those before it in a block of kThreads threads; *total is the sum
/// over all. `warp_sums` is shared memory for one int per warp. The first thing it does is a barrier, so
/// that it may be called again at once.
template <int kThreads>
__device__ __forceinline__ int block_inclusive_sum(int mine, int *warp_sums, int *total) {
    constexpr int kWarps = kThreads / 32;
    static_assert(kThreads % 32 == 0 && kWarps <= 32, "whole warps, whose sums fit one warp");
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    int sum = mine;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
        int other = __shfl_up_sync(~0u, sum, distance);
        sum += lane >= distance ? other : 0;
    }
    __syncthreads();
    if (lane == 31) {
        warp_sums[warp] = sum;
    }
    __syncthreads();
    int warps_sum = lane < kWarps ? warp_sums[lane] : 0;
#pragma unroll
    for (int distance = 1; distance < kWarps; distance *= 2) {
        int other = __shfl_up_sync(~0u, warps_sum, distance);
        warps_sum += lane >= distance ? other : 0;
    }
    *total = __shfl_sync(~0u, warps_sum, kWarps - 1);
    int before = __shfl_sync(~0u, warps_sum, warp > 0 ? warp - 1 : 0);
    return sum + (warp > 0 ? before : 0);
}

}  // namespace retinaface
