// Blocks that communicate through global memory: with all fences, and with one missing.

constexpr int kBlocks = 4, kThreads = 64;

__device__ int sum_of(const int *parts) {
    int sum = 0;
    for (int i = 0; i < kBlocks * kThreads; i++) {
        sum += parts[i];
    }
    return sum;
}

/// The last block adds up what all have stored.
template <bool kPublishes, bool kPublishesByOne, bool kAcquires>
__device__ void last_block_adds(int *parts, unsigned *tickets, int *sum) {
    __shared__ bool is_last;
    parts[blockIdx.x * kThreads + threadIdx.x] = 1;
    if (kPublishes && !kPublishesByOne) {
        __threadfence();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        if (kPublishesByOne) {
            __threadfence();
        }
        is_last = atomicAdd(tickets, 1u) == kBlocks - 1;
        if (kAcquires) {
            __threadfence();
        }
    }
    __syncthreads();
    if (is_last && threadIdx.x == kThreads - 1) {
        *sum = sum_of(parts);
    }
}

extern "C" __global__ void all_fences(int *parts, unsigned *tickets, int *sum) {
    last_block_adds<true, false, true>(parts, tickets, sum);
}

// A barrier orders the block's stores before the fence of one thread.
extern "C" __global__ void fence_of_one_thread(int *parts, unsigned *tickets, int *sum) {
    last_block_adds<true, true, true>(parts, tickets, sum);
}

extern "C" __global__ void not_published(int *parts, unsigned *tickets, int *sum) {
    last_block_adds<false, false, true>(parts, tickets, sum);
}

extern "C" __global__ void not_acquired(int *parts, unsigned *tickets, int *sum) {
    last_block_adds<true, false, false>(parts, tickets, sum);
}

// Only the thread that fences has published its store: no barrier is before.
extern "C" __global__ void fence_without_barrier(int *parts, unsigned *tickets, int *sum) {
    parts[blockIdx.x * kThreads + threadIdx.x] = 1;
    if (threadIdx.x == 0) {
        __threadfence();
        if (atomicAdd(tickets, 1u) == kBlocks - 1) {
            __threadfence();
            *sum = sum_of(parts);
        }
    }
}

extern "C" __global__ void fence_of_the_block_only(int *parts, unsigned *tickets, int *sum) {
    parts[blockIdx.x * kThreads + threadIdx.x] = 1;
    __threadfence_block();
    __syncthreads();
    if (threadIdx.x == 0 && atomicAdd(tickets, 1u) == kBlocks - 1) {
        __threadfence();
        *sum = sum_of(parts);
    }
}

// Release and acquire on the ticket itself.
extern "C" __global__ void ordered_atomic(int *parts, unsigned *tickets, int *sum) {
    parts[blockIdx.x * kThreads + threadIdx.x] = 1;
    __syncthreads();
    if (threadIdx.x == 0) {
        unsigned before;
        asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;" : "=r"(before) : "l"(tickets) : "memory");
        if (before == kBlocks - 1) {
            *sum = sum_of(parts);
        }
    }
}

// Strong accesses need no fence for the value itself: each block adds its number behind a flag's.
extern "C" __global__ void strong_accesses(int *parts, unsigned *tickets, int *sum) {
    if (threadIdx.x == 0) {
        const volatile int *former = parts + blockIdx.x;
        const int value = *former + 64;
        *reinterpret_cast<volatile int *>(parts + blockIdx.x + 1) = value;
        if (blockIdx.x == kBlocks - 1) {
            *sum = value;
        }
    }
}
