#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

namespace retinaface {

/// Rounds to the nearest value of type T.
template <typename T>
__device__ __forceinline__ T from_float(float value) {
    if constexpr (sizeof(T) == 4) {
        return value;
    } else if constexpr (std::is_same_v<T, __half>) {
        return __float2half_rn(value);
    } else {
        return __float2bfloat16_rn(value);
    }
}

/// Rounds two values to a 16-bit type and packs them into 32 bits, the first one low.
template <typename T>
__device__ __forceinline__ uint32_t pack(float first, float second) {
    static_assert(sizeof(T) == 2);
    if constexpr (std::is_same_v<T, __half>) {
        __half2 pair = __floats2half2_rn(first, second);
        return *reinterpret_cast<uint32_t *>(&pair);
    } else {
        __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
        return *reinterpret_cast<uint32_t *>(&pair);
    }
}

}  // namespace retinaface
