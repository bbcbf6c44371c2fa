#pragma once
#include <cuda_runtime_api.h>

#include <functional>
#include <set>
#include <vector>

#include "numbers/type.h"

// Work runs at once, in the order of the calls: streams matter only for capture.

namespace cuda_emulator::runtime {

using Work = std::function<cudaError_t()>;

struct Graph {
    std::vector<Work> nodes;
    std::vector<cudaGraphNodeType> types;
};

struct Stream;

/// What a stream records since cudaStreamBeginCapture, and streams that have joined it.
struct Capture {
    Graph *graph;
    cudaStreamCaptureMode mode;
    Stream *origin;
    unsigned long long id;
    bool invalid = false;
};

struct Stream {
    unsigned flags = 0;
    int priority = 0;
    Capture *capture = nullptr;
    u64 recorded = 0;    ///< nodes, ever
    bool joined = true;  ///< the origin waits for all that this stream recorded
};

struct Event {
    bool timed = true;
    double ms = -1;  ///< when it was recorded, by the host's clock
    Capture *capture = nullptr;
    Stream *stream = nullptr;  ///< in which it was recorded last
    u64 recorded = 0;          ///< nodes of the stream then
};

extern std::set<Stream *> streams;
extern std::set<Capture *> captures;
extern Stream legacy_stream;

/// Null where a handle is none.
Stream *find_stream(cudaStream_t handle);

/// Runs work, or records it where the stream is being captured.
cudaError_t submit(cudaStream_t handle, cudaGraphNodeType type, const Work &work);

/// Of a call that CUDA forbids while anything is captured, unless the mode is relaxed: the capture becomes invalid.
cudaError_t forbid_during_capture();

/// Of work in the legacy stream, which would have to wait for the blocking streams that are captured.
cudaError_t forbid_legacy_during_capture();

}  // namespace cuda_emulator::runtime
