#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "common/dtype.h"

namespace retinaface {

__device__ __forceinline__ float to_float(float value) {
    return value;
}
__device__ __forceinline__ float to_float(__half value) {
    return __half2float(value);
}
__device__ __forceinline__ float to_float(__nv_bfloat16 value) {
    return __bfloat162float(value);
}

/// The two 16-bit values of a word, the low one first.
template <typename T>
__device__ __forceinline__ float2 unpack(uint32_t word) {
    static_assert(sizeof(T) == 2);
    if constexpr (std::is_same_v<T, __half>) {
        // __half22float2 takes the word apart twice.
        float2 values;
        asm("{.reg .b16 low, high; mov.b32 {low, high}, %2; cvt.f32.f16 %0, low; cvt.f32.f16 %1, high;}"
            : "=f"(values.x), "=f"(values.y)
            : "r"(word));
        return values;
    } else {
        return {__uint_as_float(word << 16), __uint_as_float(word & 0xffff0000u)};
    }
}

/// Loads four consecutive elements with one instruction. `source` must be aligned to their total size.
template <typename T>
__device__ __forceinline__ void load_four(const T *source, float (&values)[4]) {
    struct alignas(4 * sizeof(T)) Four {
        T element[4];
    };
    Four four = *reinterpret_cast<const Four *>(source);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        values[i] = to_float(four.element[i]);
    }
}

/// Calls `function` with a null pointer whose type is the element type of `dtype`.
template <typename Function>
auto dispatch(DType dtype, Function &&function) {
    switch (dtype) {
        case DType::kFloat16:
            return function(static_cast<__half *>(nullptr));
        case DType::kBFloat16:
            return function(static_cast<__nv_bfloat16 *>(nullptr));
        case DType::kFloat32:
            break;
    }
    return function(static_cast<float *>(nullptr));
}

}  // namespace retinaface
