#pragma once

#include <cstdint>

namespace retinaface {

constexpr int kWarpSize = 32;
constexpr uint32_t kFullMask = ~0u;  // all lanes of a warp

__device__ __forceinline__ int thread_index() {
    return static_cast<int>(threadIdx.x);
}
__device__ __forceinline__ int lane_index() {
    return thread_index() % kWarpSize;
}
__device__ __forceinline__ int warp_index() {
    return thread_index() / kWarpSize;
}

__device__ __forceinline__ bool has_bit(uint32_t word, int bit) {
    return (word >> bit & 1) != 0;
}

}  // namespace retinaface
