// Instructions that sm_80 does not have.
#include <cuda_fp8.h>

extern "C" __global__ void relu_integers(const int *a, const int *b, int *result) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    asm("max.relu.s32 %0, %1, %2;" : "=r"(result[i * 3]) : "r"(a[i]), "r"(b[i]));
    asm("min.relu.s32 %0, %1, %2;" : "=r"(result[i * 3 + 1]) : "r"(a[i]), "r"(b[i]));
    asm("min.s16x2.relu %0, %1, %2;" : "=r"(result[i * 3 + 2]) : "r"(a[i]), "r"(b[i]));
}

extern "C" __global__ void to_fp8(const float *a, const float *b, unsigned short *result, unsigned *halves) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(result[i * 2]) : "f"(a[i]), "f"(b[i]));
    asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(result[i * 2 + 1]) : "f"(a[i]), "f"(b[i]));
    asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves[i * 2]) : "h"(result[i * 2]));
    asm("cvt.rn.f16x2.e5m2x2 %0, %1;" : "=r"(halves[i * 2 + 1]) : "h"(result[i * 2 + 1]));
}

extern "C" __global__ void store_and_transpose(unsigned *result) {
    __shared__ __align__(16) unsigned short tile[64];
    const int lane = threadIdx.x;
    const unsigned to = (unsigned)__cvta_generic_to_shared(tile + lane % 8 * 8);
    const unsigned value = lane * 2 | (lane * 2 + 1) << 16;
    asm volatile("stmatrix.sync.aligned.m8n8.x1.shared.b16 [%0], {%1};" ::"r"(to), "r"(value) : "memory");
    __syncwarp();
    result[lane] = reinterpret_cast<unsigned *>(tile)[lane];
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result[32 + lane]) : "r"(value));
}

extern "C" __global__ void elected(unsigned *result) {
    asm volatile("{ .reg .pred p; elect.sync _|p, -1; selp.u32 %0, 1, 0, p; }" : "=r"(result[threadIdx.x]));
}
