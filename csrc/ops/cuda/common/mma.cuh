#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace retinaface {

__device__ __forceinline__ uint32_t shared_address(const void *pointer) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

/// Loads four matrices of eight rows of 16 bytes; each group of eight lanes gives the addresses of the rows of one.
__device__ __forceinline__ uint4 load_matrices(uint32_t row) {
    uint4 result;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(result.x), "=r"(result.y), "=r"(result.z), "=r"(result.w)
                 : "r"(row)
                 : "memory");
    return result;
}

/// What load_matrices gives, as a factor of multiply_add: 16 rows of 32 bytes, or the columns of two products.
template <typename T>
struct Factor {
    Factor() = default;
    __device__ explicit Factor(const uint4 &loaded) : words(loaded) {}
    uint4 words;
};

/// The values of `words` rounded to TF32, and what the rounding left, rounded to TF32: together 22 bits of the
/// significand's 24.
template <>
struct Factor<float> {
    Factor() = default;
    __device__ explicit Factor(const uint4 &loaded)
        : words{rounded(loaded.x), rounded(loaded.y), rounded(loaded.z), rounded(loaded.w)},
          rest{left(loaded.x, words.x), left(loaded.y, words.y), left(loaded.z, words.z), left(loaded.w, words.w)} {}
    uint4 words, rest;

  private:
    static __device__ uint32_t rounded(uint32_t value) {
#if __CUDA_ARCH__ >= 800
        uint32_t result;
        asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "r"(value));
        return result;
#else
        return value;
#endif
    }
    static __device__ uint32_t left(uint32_t value, uint32_t part) {
        return rounded(__float_as_uint(__uint_as_float(value) - __uint_as_float(part)));
    }
};

/// sums[16x8] += a[16 rows of 32 bytes] * b[column `n` of two], in the register layout of mma.m16n8.
template <typename T>
__device__ __forceinline__ void multiply_add(float (&sums)[4], const Factor<T> &a, const Factor<T> &b, int n);

template <>
__device__ __forceinline__ void multiply_add<__half>(float (&sums)[4], const Factor<__half> &a, const Factor<__half> &b,
                                                     int n) {
    const uint32_t low = n == 0 ? b.words.x : b.words.z, high = n == 0 ? b.words.y : b.words.w;
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a.words.x), "r"(a.words.y), "r"(a.words.z), "r"(a.words.w), "r"(low), "r"(high));
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(a.words.x), "r"(a.words.y), "r"(low));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(a.words.z), "r"(a.words.w), "r"(high));
#endif
}

// Turing has neither bfloat16 nor TF32: there the launcher does not use tensor cores for them.

template <>
__device__ __forceinline__ void multiply_add<__nv_bfloat16>(float (&sums)[4], const Factor<__nv_bfloat16> &a,
                                                            const Factor<__nv_bfloat16> &b, int n) {
#if __CUDA_ARCH__ >= 800
    const uint32_t low = n == 0 ? b.words.x : b.words.z, high = n == 0 ? b.words.y : b.words.w;
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a.words.x), "r"(a.words.y), "r"(a.words.z), "r"(a.words.w), "r"(low), "r"(high));
#else
    __trap();
#endif
}

__device__ __forceinline__ void multiply_add_tf32(float (&sums)[4], const uint4 &a, uint32_t low, uint32_t high) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(low), "r"(high));
#else
    __trap();
#endif
}

/// Three products, the small ones first; the fourth, of both rests, is below float32's precision.
template <>
__device__ __forceinline__ void multiply_add<float>(float (&sums)[4], const Factor<float> &a, const Factor<float> &b,
                                                    int n) {
    const uint32_t low = n == 0 ? b.words.x : b.words.z, high = n == 0 ? b.words.y : b.words.w;
    multiply_add_tf32(sums, a.rest, low, high);
    multiply_add_tf32(sums, a.words, n == 0 ? b.rest.x : b.rest.z, n == 0 ? b.rest.y : b.rest.w);
    multiply_add_tf32(sums, a.words, low, high);
}

}  // namespace retinaface
