#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

// Hopper's matrix instruction for a warpgroup, four warps. Only code for sm_90a may contain it (PTX ISA, "Asynchronous
// Warpgroup Level Matrix Multiply-Accumulate Operations"). No GPU has run this yet, and the CUDA emulator cannot, so it
// is compiled only with -DRETINAFACE_WGMMA=ON.

#if defined(RETINAFACE_WGMMA) && defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define RF_HAS_WGMMA

namespace retinaface {

inline __device__ void begin_wgmma() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
inline __device__ void end_wgmma() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
inline __device__ void wait_for_wgmma() {
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
}
/// Keeps the compiler from reading sums, which wgmma writes while other code runs, before the wait.
inline __device__ void keep_behind_wait(float (&sums)[4]) {
    asm volatile("" : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])::"memory");
}
/// Makes what this thread wrote to shared memory visible to wgmma and TMA of all threads, after a barrier.
inline __device__ void publish_to_async_proxy() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

#define RF_SUMS(n) "+f"(sums[n][0]), "+f"(sums[n][1]), "+f"(sums[n][2]), "+f"(sums[n][3])
#define RF_WGMMA_64(type)                                                                                           \
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type                                        \
                 " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20," \
                 " %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, %32, %33, 1, 1, 1, 0, 0;"                \
                 : RF_SUMS(0), RF_SUMS(1), RF_SUMS(2), RF_SUMS(3), RF_SUMS(4), RF_SUMS(5), RF_SUMS(6), RF_SUMS(7)   \
                 : "l"(a), "l"(b))
#define RF_WGMMA_32(type)                                                                                   \
    asm volatile("wgmma.mma_async.sync.aligned.m64n32k16.f32." type "." type                                \
                 " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, %16, %17, 1, 1," \
                 " 1, 0, 0;"                                                                                \
                 : RF_SUMS(0), RF_SUMS(1), RF_SUMS(2), RF_SUMS(3)                                           \
                 : "l"(a), "l"(b))
#define RF_WGMMA_16(type)                                                    \
    asm volatile("wgmma.mma_async.sync.aligned.m64n16k16.f32." type "." type \
                 " {%0, %1, %2, %3, %4, %5, %6, %7}, %8, %9, 1, 1, 1, 0, 0;" \
                 : RF_SUMS(0), RF_SUMS(1)                                    \
                 : "l"(a), "l"(b))

/// sums += a[64 rows of 16 values] * b[8 * kColumns columns], a and b in shared memory. Warp w of the warpgroup has
/// rows 16 w to 16 w + 15, in the register layout of mma.m16n8.
template <typename T, int kColumns>
__device__ __forceinline__ void wgmma(float (*sums)[4], uint64_t a, uint64_t b) {
    static_assert(kColumns == 8 || kColumns == 4 || kColumns == 2);
    constexpr bool kIsHalf = std::is_same_v<T, __half>;
    if constexpr (kIsHalf && kColumns == 8) {
        RF_WGMMA_64("f16");
    } else if constexpr (kIsHalf && kColumns == 4) {
        RF_WGMMA_32("f16");
    } else if constexpr (kIsHalf) {
        RF_WGMMA_16("f16");
    } else if constexpr (kColumns == 8) {
        RF_WGMMA_64("bf16");
    } else if constexpr (kColumns == 4) {
        RF_WGMMA_32("bf16");
    } else {
        RF_WGMMA_16("bf16");
    }
}

#undef RF_WGMMA_16
#undef RF_WGMMA_32
#undef RF_WGMMA_64
#undef RF_SUMS

}  // namespace retinaface
#endif
