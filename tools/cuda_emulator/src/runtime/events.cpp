#include <chrono>

#include "runtime/errors.h"
#include "runtime/pageable_copies.h"
#include "runtime/streams.h"

using namespace cuda_emulator::runtime;

namespace {

double now_ms() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double, std::milli>(now).count();
}

Event *event_of(cudaEvent_t handle) {
    return reinterpret_cast<Event *>(handle);
}

}  // namespace

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *handle, unsigned flags) {
    Event *event = new Event;
    event->timed = !(flags & cudaEventDisableTiming);
    *handle = reinterpret_cast<cudaEvent_t>(event);
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *handle) {
    return cudaEventCreateWithFlags(handle, 0);
}

cudaError_t cudaEventDestroy(cudaEvent_t handle) {
    delete event_of(handle);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t stream_handle) {
    Lock lock(mutex);
    Stream *stream = find_stream(stream_handle);
    Event *event = event_of(handle);
    if (!stream || !event) {
        return fail(cudaErrorInvalidResourceHandle);
    }
    event->capture = stream->capture;
    event->stream = stream;
    event->recorded = stream->recorded;
    event->copies = stream->flags & cudaStreamNonBlocking ? 0 : staged_copies();
    if (!stream->capture) {
        event->ms = now_ms();
    }
    return cudaSuccess;
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
    return cudaEventRecord(event, stream);
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
    Lock lock(mutex);
    const cudaError_t error = cudaEventQuery(handle);
    return error ? error : synchronise();
}

cudaError_t cudaEventQuery(cudaEvent_t handle) {
    Lock lock(mutex);
    if (event_of(handle)->capture) {
        return fail(cudaErrorCapturedEvent);
    }
    if (const cudaError_t error = forbid_during_capture()) {
        return error;
    }
    land_copies(event_of(handle)->copies);
    return cudaSuccess;
}

/// Host time; it says nothing about the speed of a GPU.
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start_handle, cudaEvent_t end_handle) {
    Lock lock(mutex);
    const Event *start = event_of(start_handle), *end = event_of(end_handle);
    for (const Event *event : {start, end}) {
        if (!event || event->ms < 0 || !event->timed) {
            return fail(cudaErrorInvalidResourceHandle);
        }
    }
    *ms = static_cast<float>(end->ms - start->ms);
    return cudaSuccess;
}

/// A stream that waits for an event of a capture joins the capture; the event's stream counts as joined again.
cudaError_t cudaStreamWaitEvent(cudaStream_t stream_handle, cudaEvent_t handle, unsigned) {
    Lock lock(mutex);
    Stream *stream = find_stream(stream_handle);
    Event *event = event_of(handle);
    if (!stream || !event) {
        return fail(cudaErrorInvalidResourceHandle);
    }
    if (!event->capture) {
        if (stream->capture && event->stream) {
            stream->capture->invalid = true;
            return fail(cudaErrorStreamCaptureIsolation);
        }
        land_copies(event->copies);
        return cudaSuccess;
    }
    if (!captures.count(event->capture)) {
        return fail(cudaErrorStreamCaptureInvalidated);
    }
    if (stream->capture && stream->capture != event->capture) {
        return fail(cudaErrorStreamCaptureMerge);
    }
    if (stream == &legacy_stream) {
        event->capture->invalid = true;
        return fail(cudaErrorStreamCaptureImplicit);
    }
    if (!stream->capture) {
        stream->capture = event->capture;
        stream->joined = false;
    }
    Stream *other = event->stream;
    if (other != stream && other->capture == event->capture && other->recorded == event->recorded) {
        other->joined = true;
    }
    return cudaSuccess;
}
