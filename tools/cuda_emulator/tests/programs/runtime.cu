#include <cooperative_groups.h>
#include <sys/mman.h>

#include "check.h"

constexpr int kCount = 1000;

__global__ void add(int *values, int amount, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        values[i] += amount;
    }
}

__global__ void __launch_bounds__(64) bounded(int *values) {
    values[threadIdx.x] = 1;
}

__global__ void reverse(int *values, int n) {
    extern __shared__ int shared[];
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        shared[i] = i;
    }
    __syncthreads();
    values[threadIdx.x] = shared[n - 1 - threadIdx.x];
}

__global__ void both_kinds_of_shared(int *values) {
    extern __shared__ int dynamic_values[];
    __shared__ int static_values[5000];
    static_values[threadIdx.x] = dynamic_values[threadIdx.x] = threadIdx.x;
    values[threadIdx.x] = static_values[threadIdx.x] + dynamic_values[threadIdx.x];
}

__global__ void sync_grid(int *values) {
    cooperative_groups::this_grid().sync();
    values[0] = 1;
}

__global__ void out_of_bounds(int *values) {
    values[1 << 20] = 1;
}

__managed__ int managed = 5;
__device__ int table[4] = {1, 2, 3, 4};

__global__ void use_variables(int *values) {
    managed += table[2];
    values[0] = table[1];
}

TEST(copies_and_streams) {
    int *values = zeros(kCount);
    cudaStream_t stream;
    CHECK_OK(cudaStreamCreate(&stream));
    add<<<4, 256, 0, stream>>>(values, 3, kCount);
    std::vector<int> host(kCount);
    CHECK_OK(cudaMemcpyAsync(host.data(), values, kCount * sizeof(int), cudaMemcpyDeviceToHost, stream));
    CHECK_OK(cudaStreamSynchronize(stream));
    CHECK(host[0] == 3 && host[kCount - 1] == 3);
    CHECK_ERROR(cudaMemset(values, 0, kCount * sizeof(int) + 1), cudaErrorInvalidValue);
    CHECK_ERROR(cudaMemcpy(host.data(), values + 1, kCount * sizeof(int), cudaMemcpyDefault), cudaErrorInvalidValue);
    CHECK_OK(cudaStreamDestroy(stream));
    CHECK_ERROR(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
}

/// The value that a kernel in a non-blocking stream sees in a destination of a copy that was just made.
int seen_by_a_stream_that_does_not_wait(const int *destination) {
    static cudaStream_t stream = nullptr;
    static int *seen;
    if (!stream) {
        CHECK_OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
        CHECK_OK(cudaMalloc((void **)&seen, sizeof(int)));
    }
    int value = -1;
    CHECK_OK(cudaMemcpyAsync(seen, destination, sizeof(int), cudaMemcpyDeviceToDevice, stream));
    CHECK_OK(cudaMemcpyAsync(&value, seen, sizeof(int), cudaMemcpyDeviceToHost, stream));
    CHECK_OK(cudaStreamSynchronize(stream));
    return value;
}

TEST(copies_from_pageable_memory) {
    int *values = zeros(kCount), *others = zeros(1 << 16), *pinned;
    std::vector<int> host(1 << 16, 0);
    cudaStream_t blocking, other;
    cudaEvent_t before, after;
    CHECK_OK(cudaStreamCreate(&blocking));
    CHECK_OK(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
    CHECK_OK(cudaEventCreate(&before));
    CHECK_OK(cudaEventCreate(&after));
    const auto seen = [&] { return seen_by_a_stream_that_does_not_wait(values); };
    // Copies a new value, which is not there yet.
    const auto upload = [&] {
        const int former = host[0]++;
        CHECK_OK(cudaMemcpy(values, host.data(), kCount * sizeof(int), cudaMemcpyHostToDevice));
        CHECK(seen() == former);
    };
    const auto is_there = [&] { return seen() == host[0]; };

    upload();
    CHECK_OK(cudaStreamSynchronize(nullptr));
    CHECK(is_there());
    upload();
    CHECK_OK(cudaDeviceSynchronize());
    CHECK(is_there());
    upload();
    add<<<1, 1>>>(others, 1, 1);  // in the legacy stream
    CHECK(is_there());
    upload();
    add<<<1, 1, 0, blocking>>>(others, 1, 1);
    CHECK(is_there());
    upload();
    add<<<1, 1, 0, other>>>(others, 1, 1);
    CHECK_OK(cudaStreamSynchronize(other));
    CHECK(!is_there());
    CHECK_OK(cudaMemset(others, 0, sizeof(int)));
    CHECK(is_there());

    // An event waits for the copies before it, not for those after it.
    CHECK_OK(cudaEventRecord(before));
    upload();
    CHECK_OK(cudaEventRecord(after));
    CHECK_OK(cudaStreamWaitEvent(other, before));
    CHECK(!is_there());
    CHECK_OK(cudaStreamWaitEvent(other, after));
    CHECK(is_there());

    // Copies that have arrived when the call returns: large ones, and from memory that is not pageable.
    host[0]++;
    CHECK_OK(cudaMemcpy(others, host.data(), host.size() * sizeof(int), cudaMemcpyHostToDevice));
    CHECK(seen_by_a_stream_that_does_not_wait(others) == host[0]);
    CHECK_OK(cudaMallocHost((void **)&pinned, sizeof(int)));
    *pinned = -7;
    CHECK_OK(cudaMemcpy(values, pinned, sizeof(int), cudaMemcpyHostToDevice));
    CHECK(seen() == -7);

    // The source may be changed at once, and copies keep their order.
    int source = 1;
    CHECK_OK(cudaMemcpy(values, &source, sizeof(int), cudaMemcpyHostToDevice));
    source = 2;
    CHECK(read(values, 1)[0] == 1);
    CHECK_OK(cudaMemcpy(values, &source, sizeof(int), cudaMemcpyHostToDevice));
    CHECK_OK(cudaFree(values));
}

TEST(copies_of_rows) {
    int from[4][6], to[4][3];
    for (int i = 0; i < 24; i++) {
        from[i / 6][i % 6] = i;
    }
    CHECK_OK(cudaMemcpy2D(to, 12, from, 24, 12, 4, cudaMemcpyHostToHost));
    CHECK(to[0][0] == 0 && to[3][2] == 20);
    CHECK_ERROR(cudaMemcpy2D(to, 8, from, 24, 12, 4, cudaMemcpyHostToHost), cudaErrorInvalidPitchValue);
}

TEST(events) {
    cudaEvent_t start, end, untimed;
    float ms = -1;
    CHECK_OK(cudaEventCreate(&start));
    CHECK_OK(cudaEventCreate(&end));
    CHECK_OK(cudaEventCreateWithFlags(&untimed, cudaEventDisableTiming));
    CHECK_ERROR(cudaEventElapsedTime(&ms, start, end), cudaErrorInvalidResourceHandle);
    CHECK_OK(cudaEventRecord(start));
    CHECK_OK(cudaEventRecord(untimed));
    CHECK_OK(cudaEventRecord(end));
    CHECK_OK(cudaEventSynchronize(end));
    CHECK_OK(cudaEventElapsedTime(&ms, start, end));
    CHECK(ms >= 0);
    CHECK_ERROR(cudaEventElapsedTime(&ms, start, untimed), cudaErrorInvalidResourceHandle);
}

TEST(dynamic_shared_memory) {
    int *values = zeros(kCount);
    reverse<<<1, 32, 100 * 1024>>>(values, 25600);
    CHECK_ERROR(cudaGetLastError(), cudaErrorInvalidValue);
    const auto limit = cudaFuncAttributeMaxDynamicSharedMemorySize;
    CHECK_ERROR(cudaFuncSetAttribute(reverse, limit, 228 * 1024), cudaErrorInvalidValue);
    CHECK_OK(cudaFuncSetAttribute(reverse, limit, 227 * 1024));
    reverse<<<1, 32, 227 * 1024>>>(values, 58112);
    CHECK_OK(cudaGetLastError());
    CHECK(read(values, 1)[0] == 58111);
    both_kinds_of_shared<<<1, 32, 40000>>>(values);  // each kind is below 48 KiB, both together above
    CHECK_ERROR(cudaGetLastError(), cudaErrorInvalidValue);
    CHECK_OK(cudaFuncSetAttribute(both_kinds_of_shared, limit, 40000));
    both_kinds_of_shared<<<1, 32, 40000>>>(values);
    CHECK_OK(cudaGetLastError());
    CHECK(read(values, 32)[31] == 62);
    int blocks = 0;
    CHECK_OK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, add, 256, 0));
    CHECK(blocks == 6);
    CHECK_OK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, reverse, 256, 200 * 1024));
    CHECK(blocks == 1);
}

/// The heap of a program at low addresses, such as Debian's Python, may be below 4 GiB.
TEST(shared_memory_beside_a_large_heap) {
    constexpr size_t kStart = size_t{1} << 30, kBytes = size_t{3} << 30;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    CHECK(mmap(reinterpret_cast<void *>(kStart), kBytes, PROT_NONE, flags, -1, 0) != MAP_FAILED);
    int *values = zeros(32);
    reverse<<<1, 32, 32 * sizeof(int)>>>(values, 32);
    CHECK_OK(cudaDeviceSynchronize());
    CHECK(read(values, 32)[0] == 31);
}

TEST(refused_launches) {
    int *values = zeros(kCount);
    bounded<<<1, 128>>>(values);
    CHECK_ERROR(cudaGetLastError(), cudaErrorInvalidValue);
    add<<<1, 2048>>>(values, 1, 1);
    CHECK_ERROR(cudaGetLastError(), cudaErrorInvalidConfiguration);
    add<<<dim3(1, 65536), 1>>>(values, 1, 1);
    CHECK_ERROR(cudaGetLastError(), cudaErrorInvalidConfiguration);
    add<<<1, dim3(1, 1, 65)>>>(values, 1, 1);
    CHECK_ERROR(cudaGetLastError(), cudaErrorInvalidConfiguration);
    add<<<0, 1>>>(values, 1, 1);
    CHECK_ERROR(cudaGetLastError(), cudaErrorInvalidConfiguration);
    void *arguments[] = {&values};
    CHECK_ERROR(cudaLaunchCooperativeKernel((void *)sync_grid, 2, 32, arguments, 0, nullptr), cudaErrorNotSupported);
    CHECK(read(values, 1)[0] == 0);
    bounded<<<1, 64>>>(values);
    CHECK_OK(cudaGetLastError());
}

TEST(other_ways_to_launch) {
    int *values = zeros(kCount), amount = 2, count = kCount;
    cudaLaunchConfig_t config = {};
    config.gridDim = 4;
    config.blockDim = 256;
    CHECK_OK(cudaLaunchKernelEx(&config, add, values, amount, count));
    void *arguments[] = {&values, &amount, &count};
    CHECK_OK(cudaLaunchKernelExC(&config, (void *)add, arguments));
    CHECK_OK(cudaLaunchCooperativeKernel((void *)add, 4, 256, arguments, 0, nullptr));
    CHECK(read(values, kCount)[500] == 6);
}

TEST(allocations) {
    int *values = zeros(kCount), *asynchronous, *pinned, count = 0;
    cudaPointerAttributes attributes;
    CHECK_OK(cudaPointerGetAttributes(&attributes, values + 5));
    CHECK(attributes.type == cudaMemoryTypeDevice && attributes.hostPointer == nullptr);
    CHECK_OK(cudaMallocAsync((void **)&asynchronous, 64, 0));
    CHECK_OK(cudaFreeAsync(asynchronous, 0));
    CHECK_OK(cudaHostAlloc((void **)&pinned, 64, 0));
    CHECK_OK(cudaPointerGetAttributes(&attributes, pinned));
    CHECK(attributes.type == cudaMemoryTypeHost);
    CHECK_OK(cudaPointerGetAttributes(&attributes, &count));
    CHECK(attributes.type == cudaMemoryTypeUnregistered);
    CHECK_ERROR(cudaFree(pinned), cudaErrorInvalidValue);
    CHECK_OK(cudaFreeHost(pinned));
    CHECK_OK(cudaFree(values));
    CHECK_ERROR(cudaFree(values), cudaErrorInvalidValue);
    CHECK(cudaMalloc((void **)&values, 1ull << 40) == cudaErrorMemoryAllocation);
    CHECK(cudaGetLastError() == cudaErrorMemoryAllocation && cudaGetLastError() == cudaSuccess);
    size_t available = 0, total = 0;
    CHECK_OK(cudaMemGetInfo(&available, &total));
    CHECK(available <= total && total == size_t(8192) << 20);
}

TEST(memory_pools) {
    constexpr size_t kBytes = 1 << 20;
    const auto available = [] {
        size_t available = 0, total = 0;
        CHECK_OK(cudaMemGetInfo(&available, &total));
        return available;
    };
    cudaMemPoolProps properties = {};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.location = {cudaMemLocationTypeDevice, 0};
    cudaMemPool_t pool;
    CHECK_OK(cudaMemPoolCreate(&pool, &properties));
    const size_t before = available();
    for (const unsigned long long threshold : {0ull, ~0ull}) {
        unsigned long long value = threshold;
        CHECK_OK(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &value));
        void *pointer;
        CHECK_OK(cudaMallocFromPoolAsync(&pointer, kBytes, pool, 0));
        CHECK_OK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &value));
        CHECK(value == kBytes && available() == before - kBytes);
        CHECK_OK(cudaFreeAsync(pointer, 0));
        CHECK_OK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &value));
        CHECK(value == (threshold ? kBytes : 0) && available() == before - value);
    }
    CHECK_OK(cudaMemPoolTrimTo(pool, 0));
    CHECK(available() == before);
    CHECK_OK(cudaMemPoolDestroy(pool));
    CHECK_ERROR(cudaMemPoolDestroy(pool), cudaErrorInvalidValue);
}

TEST(registered_host_memory) {
    std::vector<int> values(64, 1);
    add<<<1, 64>>>(values.data(), 4, 64);
    CHECK_ERROR(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
    CHECK_OK(cudaHostRegister(values.data(), 256, 0));
    CHECK_ERROR(cudaHostRegister(values.data(), 256, 0), cudaErrorHostMemoryAlreadyRegistered);
    add<<<1, 64>>>(values.data(), 4, 64);
    CHECK_OK(cudaDeviceSynchronize());
    CHECK(values[63] == 5);
    CHECK_OK(cudaHostUnregister(values.data()));
    CHECK_ERROR(cudaHostUnregister(values.data()), cudaErrorHostMemoryNotRegistered);
}

TEST(variables) {
    int *values = zeros(1), host[2] = {7, 8};
    CHECK_OK(cudaMemcpyToSymbol(table, host, sizeof(host), sizeof(int)));
    use_variables<<<1, 1>>>(values);
    CHECK_OK(cudaDeviceSynchronize());
    CHECK(managed == 13 && read(values, 1)[0] == 7);
    CHECK_OK(cudaMemcpyFromSymbol(host, table, sizeof(host), 2 * sizeof(int)));
    CHECK(host[0] == 8 && host[1] == 4);
    CHECK_ERROR(cudaMemcpyToSymbol(table, host, sizeof(host), 3 * sizeof(int)), cudaErrorInvalidValue);
    size_t bytes = 0;
    CHECK_OK(cudaGetSymbolSize(&bytes, table));
    CHECK(bytes == 16);
}

TEST(faults_are_reported_once) {
    out_of_bounds<<<1, 1>>>(zeros(1));
    CHECK(cudaPeekAtLastError() == cudaErrorIllegalAddress);
    CHECK_ERROR(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
    CHECK_OK(cudaDeviceSynchronize());
}

// Runs with CUDA_EMULATOR_STICKY=1.
TEST(faults_stay) {
    int *values = zeros(1);
    out_of_bounds<<<1, 1>>>(values);
    CHECK_ERROR(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
    CHECK_ERROR(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
    CHECK_ERROR(cudaMalloc((void **)&values, 4), cudaErrorIllegalAddress);
    add<<<1, 1>>>(values, 1, 1);
    CHECK(cudaGetLastError() == cudaErrorIllegalAddress && cudaGetLastError() == cudaErrorIllegalAddress);
}

TEST(properties) {
    cudaDeviceProp properties;
    int value = 0;
    CHECK_OK(cudaGetDeviceProperties(&properties, 0));
    CHECK(properties.major == 8 && properties.minor == 9 && properties.warpSize == 32);
    CHECK_OK(cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
    CHECK(value == 227 * 1024);
    CHECK_ERROR(cudaSetDevice(1), cudaErrorInvalidDevice);
    cudaFuncAttributes attributes;
    CHECK_OK(cudaFuncGetAttributes(&attributes, bounded));
    CHECK(attributes.maxThreadsPerBlock == 64 && attributes.ptxVersion == 80);
    CHECK(!std::strcmp(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory"));
    CHECK(!std::strcmp(cudaGetErrorName(cudaErrorNotPermitted), "cudaErrorNotPermitted"));
}

// Runs with other device settings in the environment.
TEST(other_properties) {
    cudaDeviceProp properties;
    CHECK_OK(cudaGetDeviceProperties(&properties, 0));
    CHECK(properties.major == 12 && properties.minor == 0 && properties.multiProcessorCount == 3);
    CHECK(properties.sharedMemPerBlockOptin == 99 * 1024 && properties.totalGlobalMem == 16 << 20);
    void *pointer;
    CHECK_ERROR(cudaMalloc(&pointer, 17 << 20), cudaErrorMemoryAllocation);
    CHECK_OK(cudaMalloc(&pointer, 15 << 20));
}

int main(int arguments, char **names) {
    return run_test(arguments, names);
}
