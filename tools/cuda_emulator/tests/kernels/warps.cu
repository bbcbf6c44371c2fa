#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>

namespace cg = cooperative_groups;

constexpr unsigned kAll = 0xffffffff;

extern "C" __global__ void shuffles(const unsigned *a, unsigned *result) {
    const int lane = threadIdx.x;
    unsigned *mine = result + lane * 6;
    mine[0] = __shfl_sync(kAll, a[lane], 5);
    mine[1] = __shfl_up_sync(kAll, a[lane], 3, 8);
    mine[2] = __shfl_down_sync(kAll, a[lane], 2);
    mine[3] = __shfl_xor_sync(kAll, a[lane], 9);
    mine[4] = __shfl_sync(kAll, a[lane], lane * 7, 16);
    mine[5] = 0;
    if (lane >= 8) {
        mine[5] = __shfl_xor_sync(kAll << 8, a[lane], 1);
    }
}

extern "C" __global__ void votes(const unsigned *a, unsigned *result) {
    const int lane = threadIdx.x;
    unsigned *mine = result + lane * 7;
    int same;
    mine[0] = __ballot_sync(kAll, a[lane] & 1);
    mine[1] = __any_sync(kAll, a[lane] == 5) + 2 * __all_sync(kAll, a[lane] < 1000) + 4 * __all_sync(kAll, a[lane] > 9);
    mine[2] = __match_any_sync(kAll, a[lane] & 3);
    mine[3] = __match_all_sync(kAll, a[lane] > 31, &same) + same;
    mine[4] = 0;
    if (a[lane] & 1) {
        mine[4] = __activemask();
    }
    mine[5] = __match_all_sync(kAll, lane, &same) + same;
    asm("mov.u32 %0, %%lanemask_lt;" : "=r"(mine[6]));
}

extern "C" __global__ void reductions(const unsigned *a, unsigned *result) {
    const int lane = threadIdx.x;
    unsigned *mine = result + lane * 6;
    mine[0] = __reduce_add_sync(kAll, a[lane]);
    mine[1] = __reduce_max_sync(kAll, (int)a[lane]);
    mine[2] = __reduce_xor_sync(kAll, a[lane]);
    mine[3] = __reduce_and_sync(kAll, a[lane]);
    mine[4] = __reduce_min_sync(lane < 8 ? 0xffu : ~0xffu, a[lane]);
    mine[5] = cg::reduce(cg::tiled_partition<16>(cg::this_thread_block()), a[lane], cg::plus<unsigned>());
}

// Sums over a block, with shared memory and with shuffles.
extern "C" __global__ void sum_shared(const float *a, float *sums, int n) {
    __shared__ float values[256];
    const int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
    values[t] = i < n ? a[i] : 0.f;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (t < half) {
            values[t] += values[t + half];
        }
        __syncthreads();
    }
    if (t == 0) {
        sums[blockIdx.x] = values[0];
    }
}

extern "C" __global__ void sum_shuffled(const float *a, float *sums, int n) {
    __shared__ float values[32];
    const int t = threadIdx.x, i = blockIdx.x * blockDim.x + t, lane = t % 32;
    float value = i < n ? a[i] : 0.f;
    for (int half = 16; half > 0; half /= 2) {
        value += __shfl_down_sync(kAll, value, half);
    }
    if (lane == 0) {
        values[t / 32] = value;
    }
    __syncthreads();
    if (t < 32) {
        value = lane < blockDim.x / 32 ? values[lane] : 0.f;
        for (int half = 16; half > 0; half /= 2) {
            value += __shfl_xor_sync(kAll, value, half);
        }
        if (lane == 0) {
            sums[blockIdx.x] = value;
        }
    }
}

// Compaction: values that satisfy a condition move to the front, in any order of the warps.
extern "C" __global__ void compact(const int *a, int *kept, int *count, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32;
    const bool keep = i < n && (a[i] & 1);
    const unsigned ballot = __ballot_sync(kAll, keep);
    int base = 0;
    if (lane == 0) {
        base = atomicAdd(count, __popc(ballot));
    }
    base = __shfl_sync(kAll, base, 0);
    if (keep) {
        kept[base + __popc(ballot & ((1u << lane) - 1))] = a[i];
    }
}

// barrier.red, and a barrier of some of the warps.
extern "C" __global__ void barriers(const int *a, int *result) {
    const int t = threadIdx.x;
    const int count = __syncthreads_count(a[t] & 1), all = __syncthreads_and(a[t] < 100),
              any = __syncthreads_or(a[t] > 90);
    __shared__ int passed;
    if (t < 64) {
        if (t == 0) {
            passed = a[0];
        }
        asm volatile("bar.sync 1, 64;" ::: "memory");
        result[3 * t] = count + passed;
    } else {
        result[3 * t] = count;
    }
    result[3 * t + 1] = all != 0;
    result[3 * t + 2] = any != 0;
}
