// Programmatic dependent launch. The names of tests with a mistake begin with "early" or "no".
#include "check.h"

constexpr int kCount = 256;

__global__ void write(int *to) {
    cudaTriggerProgrammaticLaunchCompletion();
    to[threadIdx.x] = static_cast<int>(threadIdx.x) + 1;
}

enum Mistake { kNone, kReadsEarly, kWritesEarly, kNeverWaits };

/// Copies what the kernel before has written; `own` is written by no other kernel.
template <Mistake kMistake>
__global__ void copy(const int *from, int *to, int *own) {
    own[threadIdx.x] = 7;
    int value = kMistake == kReadsEarly || kMistake == kNeverWaits ? from[threadIdx.x] : 0;
    if (kMistake == kWritesEarly) {
        to[threadIdx.x] = 0;
    }
    if (kMistake != kNeverWaits) {
        cudaGridDependencySynchronize();
    }
    if (kMistake == kNone || kMistake == kWritesEarly) {
        value = from[threadIdx.x];
    }
    to[threadIdx.x] = value;
}

/// One thread waits, and the others behind a barrier.
__global__ void copy_behind_a_barrier(const int *from, int *to, int *own) {
    if (threadIdx.x == 0) {
        cudaGridDependencySynchronize();
    }
    __syncthreads();
    to[threadIdx.x] = from[threadIdx.x];
}

/// Waits, but touches nothing: later kernels of the chain wait for it, and so for those before it.
__global__ void pass() {
    cudaTriggerProgrammaticLaunchCompletion();
    cudaGridDependencySynchronize();
}

template <class... Arguments>
cudaError_t launch_dependent(cudaStream_t stream, void (*kernel)(Arguments...), std::decay_t<Arguments>... arguments) {
    cudaLaunchAttribute attribute;
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = 1;
    config.blockDim = kCount;
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = 1;
    return cudaLaunchKernelEx(&config, kernel, arguments...);
}

struct Arrays {
    int *a = zeros(kCount), *b = zeros(kCount), *c = zeros(kCount);
};

/// The status of a chain: write(a), copy(a, b).
template <Mistake kMistake>
cudaError_t chain(const Arrays &arrays) {
    write<<<1, kCount>>>(arrays.a);
    return launch_dependent(nullptr, copy<kMistake>, arrays.a, arrays.b, arrays.c);
}

TEST(waits) {
    const Arrays arrays;
    CHECK_OK(chain<kNone>(arrays));
    CHECK(read(arrays.b, kCount)[kCount - 1] == kCount);
    CHECK_OK(launch_dependent(nullptr, copy_behind_a_barrier, arrays.b, arrays.c, arrays.a));
    CHECK(read(arrays.c, kCount)[kCount - 1] == kCount);
}

TEST(early_load) {
    CHECK_ERROR(chain<kReadsEarly>(Arrays()), cudaErrorIllegalAddress);
}

// `to` is what the kernel before has written, in another role.
TEST(early_store) {
    const Arrays arrays;
    write<<<1, kCount>>>(arrays.a);
    CHECK_ERROR(launch_dependent(nullptr, copy<kWritesEarly>, arrays.b, arrays.a, arrays.c), cudaErrorIllegalAddress);
}

TEST(early_store_to_what_is_read) {
    const Arrays arrays;
    copy<kNone><<<1, kCount>>>(arrays.a, arrays.b, arrays.c);
    CHECK_ERROR(launch_dependent(nullptr, copy<kWritesEarly>, arrays.b, arrays.a, arrays.c), cudaErrorIllegalAddress);
}

TEST(early_load_of_what_the_first_of_three_wrote) {
    const Arrays arrays;
    write<<<1, kCount>>>(arrays.a);
    CHECK_OK(launch_dependent(nullptr, pass));
    CHECK_ERROR(launch_dependent(nullptr, copy<kReadsEarly>, arrays.a, arrays.b, arrays.c), cudaErrorIllegalAddress);
}

TEST(no_wait) {
    const Arrays arrays;
    write<<<1, kCount>>>(arrays.a);
    CHECK(launch_dependent(nullptr, copy<kNeverWaits>, arrays.b, arrays.b, arrays.c) != cudaSuccess);
}

// Nothing may still run: other work came between, the launch is a plain one, or the device knows no such launches.
TEST(early_loads_behind_other_work) {
    const Arrays arrays;
    write<<<1, kCount>>>(arrays.a);
    CHECK_OK(cudaMemsetAsync(arrays.b, 0, 4));
    CHECK_OK(launch_dependent(nullptr, copy<kReadsEarly>, arrays.a, arrays.b, arrays.c));
    copy<kReadsEarly><<<1, kCount>>>(arrays.a, arrays.b, arrays.c);
    CHECK_OK(cudaGetLastError());
}

TEST(early_loads_on_older_devices) {
    CHECK_OK(chain<kNeverWaits>(Arrays()));
}

TEST(early_load_in_a_graph) {
    const Arrays arrays;
    cudaStream_t stream;
    CHECK_OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    for (const bool early : {false, true}) {
        CHECK_OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
        write<<<1, kCount, 0, stream>>>(arrays.a);
        CHECK_OK(launch_dependent(stream, early ? copy<kReadsEarly> : copy<kNone>, arrays.a, arrays.b, arrays.c));
        cudaGraph_t graph;
        CHECK_OK(cudaStreamEndCapture(stream, &graph));
        cudaGraphExec_t executable;
        CHECK_OK(cudaGraphInstantiate(&executable, graph, 0));
        CHECK((cudaGraphLaunch(executable, stream) == cudaSuccess) == !early);
    }
}

int main(int arguments, char **names) {
    return run_test(arguments, names);
}
