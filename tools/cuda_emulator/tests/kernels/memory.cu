#include <cuda_fp16.h>

#define INDEX const int i = blockIdx.x * blockDim.x + threadIdx.x

// Loads and stores of every width, signed bytes and halves included.
extern "C" __global__ void vectors(const int4 *a, int4 *result) {
    INDEX;
    const int4 all = a[i];
    const int2 low = reinterpret_cast<const int2 *>(a)[2 * i];
    const short4 halves = reinterpret_cast<const short4 *>(a)[2 * i];
    const char4 bytes = reinterpret_cast<const char4 *>(a)[4 * i];
    result[2 * i] = make_int4(all.w, low.y, halves.z, bytes.w);
    asm volatile(
        "{ .reg .b128 q; .reg .b64 l, h; ld.global.b128 q, [%0]; mov.b128 {l, h}, q; add.u64 l, l, 1;"
        "mov.b128 q, {h, l}; st.global.b128 [%1], q; }" ::"l"(a + i),
        "l"(result + 2 * i + 1)
        : "memory");
}

// The upper half of the warp copies only `bytes` of 16 bytes.
extern "C" __global__ void copy_async(const char *from, int *result, int bytes) {
    __shared__ __align__(16) int staged[128];
    const int lane = threadIdx.x, wanted = lane < 16 ? 16 : bytes;
    const unsigned to = (unsigned)__cvta_generic_to_shared(staged + lane * 4);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from + lane * 16), "r"(wanted));
    asm volatile("cp.async.commit_group; cp.async.wait_group 0;");
    __syncwarp();
    for (int k = 0; k < 4; k++) {
        result[lane * 4 + k] = staged[lane * 4 + k];
    }
}

extern "C" __global__ void atomics_64(const unsigned *a, unsigned long long *totals, unsigned long long *old) {
    INDEX;
    const unsigned long long x = (unsigned long long)a[i] << 20 ^ a[i];
    atomicMax(totals, x);
    atomicMin(totals + 1, x);
    atomicAdd(totals + 2, x);
    atomicXor(totals + 3, x);
    old[i] = atomicAdd(totals + 4, 1ull);
    unsigned long long seen = totals[5];
    for (;;) {
        const unsigned long long found = atomicCAS(totals + 5, seen, seen + (x & 7));
        if (found == seen) {
            break;
        }
        seen = found;
    }
    atomicMax(reinterpret_cast<long long *>(totals) + 6, (long long)x - (1ll << 40));
}

extern "C" __global__ void atomics_32(const unsigned *a, unsigned *totals) {
    INDEX;
    atomicAnd(totals, a[i]);
    atomicOr(totals + 1, a[i]);
    atomicInc(totals + 2, 10);
    atomicDec(totals + 3, 10);
    atomicExch(totals + 4, 77);
    atomicMin(reinterpret_cast<int *>(totals) + 5, (int)a[i]);
    atomicSub(totals + 6, 3);
}

extern "C" __global__ void atomics_of_floats(const unsigned *a, float *f, double *d, __half2 *h, unsigned short *s) {
    INDEX;
    atomicAdd(f, 1.f);
    atomicAdd(d, (double)(a[i] & 1023));
    atomicAdd(h, __floats2half2_rn(1.f, 2.f));
    atomicCAS(s, (unsigned short)0, (unsigned short)7);
}

// A histogram in shared memory, then in global memory.
extern "C" __global__ void histogram(const unsigned char *a, int *bins, int n) {
    __shared__ int counts[256];
    for (int i = threadIdx.x; i < 256; i += blockDim.x) {
        counts[i] = 0;
    }
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        atomicAdd(&counts[a[i]], 1);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < 256; i += blockDim.x) {
        atomicAdd(&bins[i], counts[i]);
    }
}

__constant__ float table[4] = {1.f, 2.f, 3.f, 4.f};
__device__ int finished;

// The last block sums the results of the others; generic pointers to local, shared and global memory.
extern "C" __global__ void last_block(const float *a, float *partial, float *result, int blocks) {
    __shared__ int last;
    float mine[4];
    for (int k = 0; k < 4; k++) {
        mine[k] = a[blockIdx.x] * table[(blockIdx.x + k) & 3];
    }
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = mine[blocks & 3];
        __threadfence();
        last = atomicAdd(&finished, 1) == blocks - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        float sum = 0;
        for (int i = 0; i < blocks; i++) {
            sum += reinterpret_cast<volatile float *>(partial)[i];
        }
        *result = sum;
        finished = 0;
    }
}
