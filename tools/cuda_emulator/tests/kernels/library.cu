// Code of CUDA's headers; a test checks that the emulator supports every instruction of it.
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cuda/atomic>

namespace cg = cooperative_groups;

extern "C" __global__ void halves(__nv_bfloat162 *b, __half *h, float2 *f, int *result) {
    const int i = threadIdx.x;
    atomicAdd(b, b[1]);
    atomicAdd(h, h[1]);
    b[2] = h2exp(b[1]);
    b[3] = h2log2(b[1]);
    h[4] = hrsqrt(h[2]);
    h[5] = hsin(h[2]);
    h[6] = htanh(h[3]);
    b[4] = __hfma2_relu(b[1], b[2], b[3]);
    b[5] = __float22bfloat162_rn(f[i]);
    f[i] = __bfloat1622float2(b[5]);
    result[i] = __hbgt2(b[1], b[2]) + __heq(h[1], h[2]) + __hisnan(h[3]);
    result[1] = __vabsdiffu4(result[0], result[2]) + __vcmpgts2(result[3], result[4]) + __vimax3_s32(i, 2, 3);
}

extern "C" __global__ void atomics(unsigned long long *p) {
    cuda::atomic_ref<unsigned long long, cuda::thread_scope_device> reference(*p);
    reference.fetch_add(1, cuda::memory_order_relaxed);
    reference.fetch_max(7, cuda::memory_order_acq_rel);
    reference.store(reference.load(cuda::memory_order_acquire) + 1, cuda::memory_order_release);
}

extern "C" __global__ void groups(const int *a, int *result) {
    const auto block = cg::this_thread_block();
    const auto tile = cg::tiled_partition<32>(block);
    __shared__ int values[64];
    cg::memcpy_async(block, values, a, 256);
    cg::wait(block);
    const int value = values[threadIdx.x];
    result[threadIdx.x] = cg::inclusive_scan(tile, value) + cg::reduce(tile, value, cg::greater<int>());
    if (value & 1) {
        const auto odd = cg::coalesced_threads();
        result[threadIdx.x] += odd.shfl(value, 0) + odd.size();
    }
    result[threadIdx.x] += cg::labeled_partition(tile, value & 3).size();
}

extern "C" __global__ void functions(const float *a, float *result) {
    const float x = a[threadIdx.x];
    result[threadIdx.x] = cbrtf(x) + lgammaf(3.f) + normcdff(.3f) + sinpif(x) + rcbrtf(2.f) + ldexpf(1.5f, 3) +
                          nextafterf(1.f, x) + roundf(2.5f) + __powf(2.f, x) + __tanf(.2f) + ilogbf(x) + j0f(x);
}
