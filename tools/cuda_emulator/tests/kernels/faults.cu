// Each kernel has one fault that the emulator must detect.

extern "C" __global__ void out_of_bounds(int *a, int offset) {
    a[static_cast<int>(threadIdx.x) + offset] = 1;
}

extern "C" __global__ void shared_out_of_bounds(int *a) {
    __shared__ int values[32];
    values[threadIdx.x * 2] = 1;
    __syncthreads();
    a[threadIdx.x] = values[threadIdx.x];
}

extern "C" __global__ void local_out_of_bounds(int *a, int index) {
    int values[4] = {1, 2, 3, 4};
    for (int i = 0; i < 4; i++) {
        values[i] += a[i];
    }
    a[threadIdx.x] = values[index + a[0]];
}

extern "C" __global__ void misaligned(char *a) {
    *reinterpret_cast<int *>(a + 2) = 1;
}

extern "C" __global__ void misaligned_vector(char *a) {
    *reinterpret_cast<int4 *>(a + 8) = make_int4(1, 2, 3, 4);
}

// Half of the block waits at a barrier; the other half waits for the first half.
extern "C" __global__ void divergent_barrier(int *a) {
    if (threadIdx.x < 16) {
        __syncthreads();
        a[0] = 1;
    } else {
        while (true) {
            __syncwarp(0xffff0000u);
            if (__shfl_sync(0xffffffffu, 1, 0)) {
                break;
            }
        }
    }
}

extern "C" __global__ void absent_lane(int *a) {
    if (threadIdx.x < 16) {
        return;
    }
    a[threadIdx.x] = __shfl_sync(0xffffffffu, threadIdx.x, 20);
}

extern "C" __global__ void not_in_own_mask(int *a) {
    a[threadIdx.x] = __ballot_sync(0x0000ffffu, 1);
}

// Two warps without a barrier between them; the emulator runs the first warp first.
extern "C" __global__ void write_then_read(int *a) {
    __shared__ int values[32];
    if (threadIdx.x < 32) {
        values[threadIdx.x] = a[threadIdx.x];
    } else {
        a[threadIdx.x] = values[threadIdx.x - 32];
    }
}

extern "C" __global__ void read_then_write(int *a) {
    __shared__ int values[32];
    if (threadIdx.x < 32) {
        a[threadIdx.x] = values[threadIdx.x];
    } else {
        values[threadIdx.x - 32] = a[threadIdx.x];
    }
}

extern "C" __global__ void write_twice(int *a) {
    __shared__ volatile int value;
    value = a[threadIdx.x];
    __syncthreads();
    a[threadIdx.x] = value;
}

// Lanes of one warp. The vote makes the lanes meet, but orders no accesses to memory.
extern "C" __global__ void lane_writes_then_others_read(int *a) {
    __shared__ volatile int value;
    if (threadIdx.x % 32 == 5) {
        value = a[threadIdx.x];
    }
    if (__any_sync(0xffffffffu, a[threadIdx.x] == 0)) {
        a[threadIdx.x] = value;
    }
}

extern "C" __global__ void lanes_read_then_one_writes(int *a) {
    __shared__ volatile int value;
    value = 3;
    __syncwarp();
    a[threadIdx.x] = value;
    if (__any_sync(0xffffffffu, a[threadIdx.x] == 3) && threadIdx.x % 32 == 5) {
        value = 4;
    }
}

// The same with __syncwarp; each lane writes and reads half of a word, and then all write the same value.
extern "C" __global__ void no_race_within_a_warp(int *a) {
    __shared__ volatile int value;
    __shared__ volatile short halves[32];
    if (threadIdx.x == 5) {
        value = 7;
    }
    __syncwarp();
    a[threadIdx.x] = value;
    halves[threadIdx.x] = static_cast<short>(threadIdx.x);
    a[threadIdx.x] += halves[threadIdx.x];
    __syncwarp();
    value = 8;
}

// The first kernels with barriers, and warps that access only their own words.
extern "C" __global__ void no_race(int *a) {
    __shared__ int values[64];
    values[threadIdx.x] = threadIdx.x;
    __syncwarp();
    values[threadIdx.x ^ 1] += 1;
    __syncthreads();
    const int value = values[63 - threadIdx.x];
    __syncthreads();
    values[threadIdx.x] = value;
    a[threadIdx.x] = values[threadIdx.x];
}

extern "C" __global__ void endless(volatile int *a) {
    while (a[0] == 0) {
    }
}

// Waits for another block, which the emulator never runs in the meantime.
extern "C" __global__ void waits_for_next_block(volatile int *a) {
    if (blockIdx.x == 0) {
        while (a[0] == 0) {
        }
    } else {
        a[0] = 1;
    }
}

extern "C" __global__ void trapped(int *a) {
    if (a[threadIdx.x]) {
        __trap();
    }
}

extern "C" __global__ void uninitialised(unsigned *a) {
    __shared__ unsigned values[32];
    a[threadIdx.x] = values[threadIdx.x];
}

extern "C" __global__ void unsupported(int *a) {
    a[threadIdx.x] = 1;
    asm volatile("mbarrier.init.shared.b64 [%0], 1;" ::"r"(0));
}

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
