#undef NDEBUG  // for assert()
#include <cassert>

#include "check.h"

__global__ void print(int n) {
    if (threadIdx.x < n) {
        printf("thread %d of %s: %5.2f %lld %c%% %x\n", threadIdx.x, "block", threadIdx.x + .5, -(1ll << 40), 'y', 255);
    }
}

__global__ void assert_less(int n) {
    assert(n < 100);
}

__global__ void race(int *result) {
    __shared__ int values[64];
    values[threadIdx.x] = threadIdx.x;
    result[threadIdx.x] = values[63 - threadIdx.x];
}

__global__ void misaligned(char *bytes) {
    *reinterpret_cast<int *>(bytes + 1) = 1;
}

__global__ void endless(volatile int *flag) {
    while (!*flag) {
    }
}

// Prints which PTX the emulated device chose.
TEST(choice) {
    cudaFuncAttributes attributes;
    CHECK_OK(cudaFuncGetAttributes(&attributes, assert_less));
    std::printf("%d\n", attributes.ptxVersion);
}

TEST(printf) {
    print<<<1, 4>>>(2);
    CHECK_OK(cudaDeviceSynchronize());
}

TEST(assertion) {
    assert_less<<<1, 1>>>(5);
    CHECK_OK(cudaDeviceSynchronize());
    assert_less<<<1, 1>>>(200);
    CHECK_ERROR(cudaDeviceSynchronize(), cudaErrorAssert);
}

// Runs with and without CUDA_EMULATOR_RACE=1.
TEST(race) {
    race<<<1, 64>>>(zeros(64));
    CHECK_ERROR(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
}
TEST(unseen_race) {
    race<<<1, 64>>>(zeros(64));
    CHECK_OK(cudaDeviceSynchronize());
}

TEST(misalignment) {
    misaligned<<<1, 1>>>(reinterpret_cast<char *>(zeros(2)));
    CHECK_ERROR(cudaDeviceSynchronize(), cudaErrorMisalignedAddress);
}

// Runs with a low CUDA_EMULATOR_MAX_INST.
TEST(hang) {
    endless<<<1, 1>>>(zeros(1));
    CHECK_ERROR(cudaDeviceSynchronize(), cudaErrorLaunchTimeout);
}

int main(int arguments, char **names) {
    return run_test(arguments, names);
}
