#pragma once

#include <cstdint>

#include "ops/cuda/deform_conv/wgmma.cuh"

// Hopper's Tensor Memory Accelerator, which copies a box of a matrix to shared memory by itself, and the barrier in
// shared memory (mbarrier) at which it counts the bytes that have come. Like wgmma, compiled only with
// -DRETINAFACE_WGMMA=ON.

#ifdef RF_HAS_WGMMA
#include <cuda.h>

namespace retinaface {

/// Makes a barrier whose phases end when one thread has arrived and the bytes that it expects have come.
inline __device__ void make_barrier(uint32_t barrier) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(barrier) : "memory");
    publish_to_async_proxy();
}

/// Arrives, and lets the phase wait for so many bytes.
inline __device__ void expect_bytes(uint32_t barrier, uint32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

/// Starts copying the box whose first row is `row`.
inline __device__ void copy_box(uint32_t target, const CUtensorMap &matrix, uint32_t row, uint32_t barrier) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cta.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::
            "r"(target),
        "l"(&matrix), "r"(0), "r"(row), "r"(barrier)
        : "memory");
}

/// Whether the latest phase of this parity has ended; if so, its bytes are visible to this thread. May sleep a while.
inline __device__ bool has_ended(uint32_t barrier, uint32_t parity) {
    uint32_t ended;
    asm volatile(
        "{\n"
        ".reg .pred ended;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 ended, [%1], %2;\n"
        "selp.u32 %0, 1, 0, ended;\n"
        "}"
        : "=r"(ended)
        : "r"(barrier), "r"(parity)
        : "memory");
    return ended != 0;
}

}  // namespace retinaface
#endif
