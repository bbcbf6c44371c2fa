#include <thread>

#include "check.h"

constexpr int kCount = 1000;

__global__ void add(int *values, int amount) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < kCount) {
        values[i] += amount;
    }
}

struct Streams {
    cudaStream_t origin, other;  // a blocking and a non-blocking stream

    Streams() {
        CHECK_OK(cudaStreamCreate(&origin));
        CHECK_OK(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
    }
    void begin(cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal) {
        CHECK_OK(cudaStreamBeginCapture(origin, mode));
    }
    cudaStreamCaptureStatus status() {
        cudaStreamCaptureStatus status;
        CHECK_OK(cudaStreamIsCapturing(origin, &status));
        return status;
    }
    void expect_end(cudaError_t expected) {
        cudaGraph_t graph;
        CHECK_ERROR(cudaStreamEndCapture(origin, &graph), expected);
        CHECK((graph != nullptr) == (expected == cudaSuccess));
        CHECK(status() == cudaStreamCaptureStatusNone);
    }
};

cudaEvent_t event() {
    cudaEvent_t event;
    CHECK_OK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    return event;
}

TEST(replay_with_a_fork) {
    Streams streams;
    int *values = zeros(kCount), *host;
    CHECK_OK(cudaHostAlloc((void **)&host, kCount * sizeof(int), 0));
    host[0] = 0;
    const cudaEvent_t fork = event(), join = event();
    streams.begin();
    CHECK(streams.status() == cudaStreamCaptureStatusActive);
    CHECK_OK(cudaMemsetAsync(values, 0, kCount * sizeof(int), streams.origin));
    add<<<4, 256, 0, streams.origin>>>(values, 5);
    CHECK_OK(cudaEventRecord(fork, streams.origin));
    CHECK_OK(cudaStreamWaitEvent(streams.other, fork, 0));
    add<<<4, 256, 0, streams.other>>>(values, 1);
    CHECK_OK(cudaEventRecord(join, streams.other));
    CHECK_OK(cudaStreamWaitEvent(streams.origin, join, 0));
    CHECK_OK(cudaMemcpyAsync(host, values, kCount * sizeof(int), cudaMemcpyDeviceToHost, streams.origin));
    CHECK_ERROR(cudaEventSynchronize(fork), cudaErrorCapturedEvent);
    cudaGraph_t graph;
    CHECK_OK(cudaStreamEndCapture(streams.origin, &graph));
    CHECK(host[0] == 0);
    size_t nodes = 0;
    CHECK_OK(cudaGraphGetNodes(graph, nullptr, &nodes));
    CHECK(nodes == 4);
    cudaGraphExec_t executable;
    CHECK_OK(cudaGraphInstantiate(&executable, graph, 0));
    CHECK_OK(cudaGraphDestroy(graph));
    for (int i = 0; i < 2; i++) {
        host[0] = host[kCount - 1] = 0;
        CHECK_OK(cudaGraphLaunch(executable, streams.origin));
        CHECK_OK(cudaStreamSynchronize(streams.origin));
        CHECK(host[0] == 6 && host[kCount - 1] == 6);
    }
}

TEST(waiting_is_forbidden) {
    Streams streams;
    streams.begin();
    CHECK_ERROR(cudaStreamSynchronize(streams.origin), cudaErrorStreamCaptureUnsupported);
    CHECK(streams.status() == cudaStreamCaptureStatusInvalidated);
    CHECK_ERROR(cudaLaunchHostFunc(streams.origin, [](void *) {}, nullptr), cudaErrorStreamCaptureInvalidated);
    streams.expect_end(cudaErrorStreamCaptureInvalidated);
    streams.begin(cudaStreamCaptureModeThreadLocal);
    CHECK_ERROR(cudaDeviceSynchronize(), cudaErrorStreamCaptureUnsupported);
    streams.expect_end(cudaErrorStreamCaptureInvalidated);
}

TEST(allocating_is_forbidden_unless_relaxed) {
    Streams streams;
    void *pointer;
    streams.begin();
    CHECK_ERROR(cudaMalloc(&pointer, 64), cudaErrorStreamCaptureUnsupported);
    streams.expect_end(cudaErrorStreamCaptureInvalidated);
    streams.begin(cudaStreamCaptureModeRelaxed);
    CHECK_OK(cudaMalloc(&pointer, 64));
    streams.expect_end(cudaSuccess);
}

TEST(freeing_is_forbidden_unless_relaxed) {
    Streams streams;
    void *pointer, *host;
    CHECK_OK(cudaMalloc(&pointer, 64));
    CHECK_OK(cudaMallocHost(&host, 64));
    const cudaEvent_t outside = event();
    CHECK_OK(cudaEventRecord(outside, streams.other));
    for (const auto mode : {cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal}) {
        streams.begin(mode);
        CHECK_ERROR(cudaFree(pointer), cudaErrorStreamCaptureUnsupported);
        CHECK_ERROR(cudaMemsetAsync(pointer, 0, 64, streams.origin), cudaErrorStreamCaptureInvalidated);
        streams.expect_end(cudaErrorStreamCaptureInvalidated);
        streams.begin(mode);
        CHECK_ERROR(cudaFreeHost(host), cudaErrorStreamCaptureUnsupported);
        streams.expect_end(cudaErrorStreamCaptureInvalidated);
        streams.begin(mode);
        CHECK_ERROR(cudaEventQuery(outside), cudaErrorStreamCaptureUnsupported);
        streams.expect_end(cudaErrorStreamCaptureInvalidated);
    }
    streams.begin(cudaStreamCaptureModeRelaxed);
    CHECK_OK(cudaFree(pointer));
    streams.expect_end(cudaSuccess);
}

TEST(freeing_in_stream_order_is_allowed) {
    Streams streams;
    void *pointer;
    CHECK_OK(cudaMallocAsync(&pointer, 64, streams.other));
    streams.begin();
    CHECK_OK(cudaFreeAsync(pointer, streams.other));
    CHECK_OK(cudaMallocAsync(&pointer, 64, streams.other));
    streams.expect_end(cudaSuccess);
}

/// The result of cudaFree in another thread of the given mode.
cudaError_t free_in_thread(void *pointer, cudaStreamCaptureMode mode) {
    cudaError_t error;
    std::thread([&] {
        CHECK_OK(cudaThreadExchangeStreamCaptureMode(&mode));
        error = cudaFree(pointer);
    }).join();
    return error;
}

TEST(other_threads_may_not_free_during_global_captures) {
    Streams streams;
    void *pointer;
    CHECK_OK(cudaMalloc(&pointer, 64));
    streams.begin(cudaStreamCaptureModeGlobal);
    CHECK(free_in_thread(pointer, cudaStreamCaptureModeGlobal) == cudaErrorStreamCaptureUnsupported);
    streams.expect_end(cudaErrorStreamCaptureInvalidated);
    streams.begin(cudaStreamCaptureModeThreadLocal);
    CHECK(free_in_thread(pointer, cudaStreamCaptureModeGlobal) == cudaSuccess);
    streams.expect_end(cudaSuccess);
    for (const auto mode : {cudaStreamCaptureModeThreadLocal, cudaStreamCaptureModeRelaxed}) {
        CHECK_OK(cudaMalloc(&pointer, 64));
        streams.begin(cudaStreamCaptureModeGlobal);
        CHECK(free_in_thread(pointer, mode) == cudaSuccess);
        streams.expect_end(cudaSuccess);
    }
}

TEST(captures_end_in_their_thread_unless_relaxed) {
    Streams streams;
    cudaGraph_t graph;
    const auto end_in_thread = [&] {
        cudaError_t error;
        std::thread([&] { error = cudaStreamEndCapture(streams.origin, &graph); }).join();
        return error;
    };
    streams.begin(cudaStreamCaptureModeThreadLocal);
    CHECK(end_in_thread() == cudaErrorStreamCaptureWrongThread);
    streams.expect_end(cudaSuccess);
    streams.begin(cudaStreamCaptureModeRelaxed);
    CHECK(end_in_thread() == cudaSuccess);
}

TEST(legacy_stream_is_forbidden) {
    Streams streams;
    int *values = zeros(kCount), host = 0;
    streams.begin(cudaStreamCaptureModeRelaxed);
    CHECK_ERROR(cudaMemcpy(&host, values, 4, cudaMemcpyDefault), cudaErrorStreamCaptureImplicit);
    streams.expect_end(cudaErrorStreamCaptureInvalidated);
    streams.begin(cudaStreamCaptureModeRelaxed);
    add<<<4, 256>>>(values, 1);
    CHECK_ERROR(cudaGetLastError(), cudaErrorStreamCaptureImplicit);
    streams.expect_end(cudaErrorStreamCaptureInvalidated);
    CHECK(read(values, 1)[0] == 0);
    CHECK_ERROR(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal), cudaErrorStreamCaptureUnsupported);
}

TEST(forks_must_be_joined) {
    Streams streams;
    int *values = zeros(kCount);
    const cudaEvent_t fork = event();
    streams.begin(cudaStreamCaptureModeRelaxed);
    CHECK_OK(cudaEventRecord(fork, streams.origin));
    CHECK_OK(cudaStreamWaitEvent(streams.other, fork, 0));
    add<<<1, 32, 0, streams.other>>>(values, 1);
    cudaGraph_t graph;
    CHECK_ERROR(cudaStreamEndCapture(streams.other, &graph), cudaErrorStreamCaptureUnmatched);
    streams.expect_end(cudaErrorStreamCaptureInvalidated);
    streams.begin(cudaStreamCaptureModeRelaxed);
    CHECK_OK(cudaEventRecord(fork, streams.origin));
    CHECK_OK(cudaStreamWaitEvent(streams.other, fork, 0));
    add<<<1, 32, 0, streams.other>>>(values, 1);
    streams.expect_end(cudaErrorStreamCaptureUnjoined);
}

TEST(outside_work_cannot_be_waited_for) {
    Streams streams;
    const cudaEvent_t outside = event();
    CHECK_OK(cudaEventRecord(outside, streams.other));
    streams.begin();
    CHECK_ERROR(cudaStreamWaitEvent(streams.origin, outside, 0), cudaErrorStreamCaptureIsolation);
    streams.expect_end(cudaErrorStreamCaptureInvalidated);
}

int main(int arguments, char **names) {
    return run_test(arguments, names);
}
