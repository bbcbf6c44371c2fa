// Divergence and reconvergence.
extern "C" __global__ void collatz(const int *a, int *result) {
    const int i = threadIdx.x;
    int value = a[i], steps = 0;
    while (value > 1) {
        if (value & 1) {
            value = 3 * value + 1;
        } else {
            value >>= 1;
        }
        steps++;
        if (steps > 200) {
            break;
        }
    }
    __syncwarp();
    result[i] = steps + 1000 * __shfl_xor_sync(0xffffffff, steps, 1);
}

// A switch, which is compiled to a branch table, on an array in local memory.
extern "C" __global__ void interpret(const int *a, int *result, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) {
        return;
    }
    int stack[16];
    for (int k = 0; k < 16; k++) {
        stack[k] = a[(i + k) % n];
    }
    int sum = 0;
    for (int k = 0; k < 8; k++) {
        const int value = stack[(a[i] + k * 5) & 15];
        switch (value % 9) {
            case 0:
                sum += value;
                break;
            case 1:
                sum -= 3;
                break;
            case 2:
                sum ^= value;
                break;
            case 3:
                sum += stack[value & 15];
                break;
            case 4:
                sum *= 3;
                break;
            case 5:
                sum += 17;
                break;
            case 6:
                sum -= value;
                break;
            case 7:
                sum += k;
                break;
            default:
                sum |= 1;
        }
        stack[value & 15] = sum;
    }
    result[i] = sum;
}

__noinline__ __device__ int weighted_sum(int count, int weight, int *seen) {
    int sum = 0;
    for (int i = 0; i < count; i++) {
        sum += weight * i;
        if (sum > 1000) {
            return sum - 1000;
        }
    }
    *seen = sum;
    return sum;
}

// Conditional calls, two levels deep, with a pointer to local memory.
__noinline__ __device__ int twice(int count, int weight, int *seen) {
    return 2 * weighted_sum(count, weight, seen);
}

extern "C" __global__ void calls(int *result) {
    const int i = threadIdx.x;
    int seen[2] = {7, 7};
    const int sum = i & 1 ? weighted_sum(i, 3, seen) + seen[0] : twice(i, 50, seen + 1) - seen[1];
    result[i] = sum;
}

// Tiles in dynamic shared memory, loaded with asynchronous copies.
extern "C" __global__ void __launch_bounds__(256) multiply(const float *a, const float *b, float *c, int n) {
    extern __shared__ __align__(16) float tiles[];
    float *tile_a = tiles, *tile_b = tiles + 16 * 64;
    const int t = threadIdx.x, x = t % 16, y = t / 16, row = blockIdx.y * 64, column = blockIdx.x * 64;
    float sum[4][4] = {};
    for (int k = 0; k < n; k += 16) {
        const unsigned to_a = (unsigned)__cvta_generic_to_shared(tile_a + t * 4);
        const unsigned to_b = (unsigned)__cvta_generic_to_shared(tile_b + t * 4);
        const float *from_a = a + (row + t / 4) * n + k + t % 4 * 4, *from_b = b + (k + y) * n + column + x * 4;
        asm volatile("cp.async.ca.shared.global [%0], [%1], 16;" ::"r"(to_a), "l"(from_a));
        asm volatile("cp.async.ca.shared.global [%0], [%1], 16;" ::"r"(to_b), "l"(from_b));
        asm volatile("cp.async.wait_all;");
        __syncthreads();
        for (int j = 0; j < 16; j++) {
            for (int p = 0; p < 4; p++) {
                for (int q = 0; q < 4; q++) {
                    sum[p][q] += tile_a[(y * 4 + p) * 16 + j] * tile_b[j * 64 + x * 4 + q];
                }
            }
        }
        __syncthreads();
    }
    for (int p = 0; p < 4; p++) {
        for (int q = 0; q < 4; q++) {
            c[(row + y * 4 + p) * n + column + x * 4 + q] = sum[p][q];
        }
    }
}

// Static shared memory before dynamic shared memory that asks for a larger alignment.
extern "C" __global__ void dynamic_behind_static(int *result, int words) {
    __shared__ int before[5];
    extern __shared__ __align__(1024) int behind[];
    before[threadIdx.x % 5] = 7;
    __syncthreads();
    for (int i = threadIdx.x; i < words; i += blockDim.x) {
        behind[i] = i;
    }
    __syncthreads();
    result[0] = (unsigned)__cvta_generic_to_shared(behind) % 1024;
    result[1] = behind[words - 1];
    result[2] = before[threadIdx.x % 5];
}

// Grid, block and thread indices in three dimensions.
extern "C" __global__ void positions(int *result) {
    const int threads = blockDim.x * blockDim.y * blockDim.z;
    const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    result[block * threads + thread] = threadIdx.x + 10 * threadIdx.y + 100 * threadIdx.z + 1000 * blockIdx.x +
                                       10000 * blockIdx.y + 100000 * blockIdx.z;
}
