// Accesses with known costs.

#define INDEX const int i = blockIdx.x * blockDim.x + threadIdx.x

extern "C" __global__ void coalesced(const float *a, float *result) {
    INDEX;
    result[i] = a[i];
}

extern "C" __global__ void strided(const float *a, float *result) {
    INDEX;
    result[i] = a[i * 8];
}

// The same values twice; the second warp of a block goes on alone.
extern "C" __global__ void repeated(const volatile float *a, float *result) {
    float sum = a[threadIdx.x];
    __threadfence();
    sum += a[threadIdx.x];
    if (threadIdx.x >= 32) {
        for (int k = 0; k < 10; k++) {
            asm volatile("fma.rn.f32 %0, %0, %0, %0;" : "+f"(sum));
        }
        sum += a[threadIdx.x];
    }
    result[threadIdx.x] = sum;
}

extern "C" __global__ void vectors(const float4 *a, float4 *result) {
    INDEX;
    result[i] = a[i];
}

extern "C" __global__ void banks(float *result, int stride) {
    __shared__ float values[1088];
    values[threadIdx.x * stride] = threadIdx.x;
    __syncthreads();
    result[threadIdx.x] = values[threadIdx.x * stride];
}

extern "C" __global__ void wide_banks(float4 *result, int stride) {
    __shared__ float4 values[256];
    values[threadIdx.x * stride] = make_float4(threadIdx.x, 1, 2, 3);
    __syncthreads();
    result[threadIdx.x] = values[threadIdx.x * stride];
}

extern "C" __global__ void local_array(const int *a, int *result, int n) {
    int values[16];
    INDEX;
    for (int k = 0; k < 16; k++) {
        values[k] = a[k];
    }
    result[i] = values[(n + i) & 15];
}

extern "C" __global__ void atomics(int *total) {
    __shared__ int values[2];
    if (threadIdx.x < 2) {
        values[threadIdx.x] = 0;
    }
    __syncthreads();
    atomicAdd(&values[threadIdx.x & 1], 1);
    __syncthreads();
    if (threadIdx.x < 2) {
        atomicAdd(total, values[threadIdx.x]);
    }
}

extern "C" __global__ void matrix_product(const double *a, const double *b, double *c) {
    double c0 = 0, c1 = 0;
    asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
                 : "+d"(c0), "+d"(c1)
                 : "d"(a[threadIdx.x]), "d"(b[threadIdx.x]));
    c[2 * threadIdx.x] = c0;
    c[2 * threadIdx.x + 1] = c1;
}

extern "C" __global__ void arithmetic(const float *a, float *result, int n) {
    INDEX;
    float sum = a[i];
    for (int k = 0; k < 10; k++) {
        asm volatile("fma.rn.f32 %0, %0, %0, %0;" : "+f"(sum));
        asm volatile("sqrt.approx.f32 %0, %0;" : "+f"(sum));
    }
    result[i] = sum;
}
