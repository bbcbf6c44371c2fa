#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace retinaface {

/// Loads four 8x8 matrices; each group of eight lanes points to the 16-byte rows of one. The constant part of the
/// address is an immediate operand: added in C++, each sum would take a register of its own.
template <int kOffset>
__device__ __forceinline__ uint4 load_matrices(const unsigned char *row) {
    uint4 result;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4 + %5];"
                 : "=r"(result.x), "=r"(result.y), "=r"(result.z), "=r"(result.w)
                 : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row))), "n"(kOffset)
                 : "memory");
    return result;
}

/// sums[16x8] += a[16x16] * b[16x8] in the register layout of mma.m16n8k16. Turing has m16n8k8, and no bfloat16: there
/// the launcher does not use tensor cores.
template <typename T>
__device__ __forceinline__ void multiply_add(float (&sums)[4], const uint4 &a, const uint2 &b);

template <>
__device__ __forceinline__ void multiply_add<__half>(float (&sums)[4], const uint4 &a, const uint2 &b) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(a.x), "r"(a.y), "r"(b.x));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(a.z), "r"(a.w), "r"(b.y));
#endif
}

template <>
__device__ __forceinline__ void multiply_add<__nv_bfloat16>(float (&sums)[4], const uint4 &a, const uint2 &b) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
#else
    __trap();
#endif
}

}  // namespace retinaface
