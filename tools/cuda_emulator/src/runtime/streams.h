#pragma once
#include <cuda_runtime_api.h>

#include <functional>
#include <set>
#include <thread>
#include <vector>

#include "numbers/type.h"

// Work runs immediately, in the order of the calls, so streams matter only for capture and for pageable_copies.h.

namespace cuda_emulator::runtime {

using Work = std::function<cudaError_t()>;

struct Graph {
    std::vector<Work> nodes;
    std::vector<cudaGraphNodeType> types;
};

struct Stream;

/// A capture: work recorded since cudaStreamBeginCapture by a stream and the streams that have joined it.
struct Capture {
    Graph *graph;
    cudaStreamCaptureMode mode;
    Stream *origin;
    unsigned long long id;
    std::thread::id thread;  ///< that began it
    bool invalid = false;
};

struct Stream {
    unsigned flags = 0;
    int priority = 0;
    Capture *capture = nullptr;
    u64 recorded = 0;    ///< total number of nodes
    bool joined = true;  ///< the origin waits for all work that this stream recorded
};

struct Event {
    bool timed = true;
    double ms = -1;  ///< host time of the record
    Capture *capture = nullptr;
    Stream *stream = nullptr;  ///< stream of the last record
    u64 recorded = 0;          ///< nodes of the stream at that time
    u64 copies = 0;            ///< staged copies that the stream had to wait for at that time
};

extern std::set<Stream *> streams;
extern std::set<Capture *> captures;
extern Stream legacy_stream;

/// Null for an invalid handle.
Stream *find_stream(cudaStream_t handle);

/// Runs work, or records it if the stream is being captured.
cudaError_t submit(cudaStream_t handle, cudaGraphNodeType type, const Work &work);

/// How the calling thread's unsafe calls treat captures: cudaThreadExchangeStreamCaptureMode.
extern thread_local cudaStreamCaptureMode thread_capture_mode;

/// The check of unsafe calls, such as cudaMalloc and cudaFree: the captures that they are forbidden in become invalid.
/// These are captures that this thread began, unless they are relaxed, and global captures of other threads. For a
/// thread in thread-local mode only the former are, for one in relaxed mode none.
cudaError_t forbid_during_capture();

/// The check of calls that wait for all streams: every capture becomes invalid.
cudaError_t forbid_waiting_during_capture();

/// The check of work in the legacy stream, which would have to wait for blocking streams that are being captured.
cudaError_t forbid_legacy_during_capture();

/// Before work in the legacy stream that has no stream argument: the check, and the copies before it land.
cudaError_t enter_legacy_stream();

}  // namespace cuda_emulator::runtime
