#include "runtime/streams.h"

#include "execution/dependence.h"
#include "runtime/errors.h"
#include "runtime/pageable_copies.h"

namespace cuda_emulator::runtime {

std::set<Stream *> streams;
std::set<Capture *> captures;
Stream legacy_stream;
thread_local cudaStreamCaptureMode thread_capture_mode = cudaStreamCaptureModeGlobal;

Stream *find_stream(cudaStream_t handle) {
    if (handle == nullptr || handle == cudaStreamLegacy || handle == cudaStreamPerThread) {
        return &legacy_stream;
    }
    Stream *stream = reinterpret_cast<Stream *>(handle);
    return streams.count(stream) ? stream : nullptr;
}

cudaError_t forbid_during_capture() {
    if (thread_capture_mode == cudaStreamCaptureModeRelaxed) {
        return cudaSuccess;
    }
    cudaError_t error = cudaSuccess;
    for (Capture *capture : captures) {
        const bool own = capture->thread == std::this_thread::get_id();
        if (own ? capture->mode != cudaStreamCaptureModeRelaxed
                : capture->mode == cudaStreamCaptureModeGlobal && thread_capture_mode == cudaStreamCaptureModeGlobal) {
            capture->invalid = true;
            error = fail(cudaErrorStreamCaptureUnsupported);
        }
    }
    return error;
}

cudaError_t forbid_waiting_during_capture() {
    for (Capture *capture : captures) {
        capture->invalid = true;
    }
    return captures.empty() ? cudaSuccess : fail(cudaErrorStreamCaptureUnsupported);
}

cudaError_t forbid_legacy_during_capture() {
    cudaError_t error = cudaSuccess;
    for (Capture *capture : captures) {
        if (!(capture->origin->flags & cudaStreamNonBlocking)) {
            capture->invalid = true;
            error = fail(cudaErrorStreamCaptureImplicit);
        }
    }
    return error;
}

cudaError_t enter_legacy_stream() {
    const cudaError_t error = forbid_legacy_during_capture();
    if (!error) {
        land_copies();
    }
    return error;
}

cudaError_t submit(cudaStream_t handle, cudaGraphNodeType type, const Work &work) {
    Stream *stream = find_stream(handle);
    if (!stream) {
        return fail(cudaErrorInvalidResourceHandle);
    }
    if (const cudaError_t error = sticky_error()) {
        return error;
    }
    if (Capture *capture = stream->capture) {
        if (capture->invalid) {
            return fail(cudaErrorStreamCaptureInvalidated);
        }
        capture->graph->nodes.push_back(work);
        capture->graph->types.push_back(type);
        stream->recorded++;
        stream->joined = stream == capture->origin;
        return cudaSuccess;
    }
    if (stream == &legacy_stream) {
        if (const cudaError_t error = forbid_legacy_during_capture()) {
            return error;
        }
    }
    if (!(stream->flags & cudaStreamNonBlocking)) {
        land_copies();
    }
    if (type != cudaGraphNodeTypeKernel) {
        dependence.clear();
    }
    return work();
}

}  // namespace cuda_emulator::runtime

using namespace cuda_emulator::runtime;

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *handle, unsigned flags, int priority) {
    Lock lock(mutex);
    Stream *stream = new Stream;
    stream->flags = flags;
    stream->priority = priority;
    streams.insert(stream);
    *handle = reinterpret_cast<cudaStream_t>(stream);
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *handle, unsigned flags) {
    return cudaStreamCreateWithPriority(handle, flags, 0);
}

cudaError_t cudaStreamCreate(cudaStream_t *handle) {
    return cudaStreamCreateWithPriority(handle, 0, 0);
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
    Lock lock(mutex);
    Stream *stream = reinterpret_cast<Stream *>(handle);
    if (!streams.erase(stream)) {
        return fail(cudaErrorInvalidResourceHandle);
    }
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamGetFlags(cudaStream_t handle, unsigned *flags) {
    Lock lock(mutex);
    const Stream *stream = find_stream(handle);
    if (!stream) {
        return fail(cudaErrorInvalidResourceHandle);
    }
    *flags = stream->flags;
    return cudaSuccess;
}

cudaError_t cudaStreamGetPriority(cudaStream_t handle, int *priority) {
    Lock lock(mutex);
    const Stream *stream = find_stream(handle);
    if (!stream) {
        return fail(cudaErrorInvalidResourceHandle);
    }
    *priority = stream->priority;
    return cudaSuccess;
}

cudaError_t cudaStreamGetDevice(cudaStream_t, int *device) {
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    if (least) {
        *least = 0;
    }
    if (greatest) {
        *greatest = -5;
    }
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
    Lock lock(mutex);
    Stream *stream = find_stream(handle);
    if (!stream) {
        return fail(cudaErrorInvalidResourceHandle);
    }
    if (stream->capture) {
        stream->capture->invalid = true;
        return fail(cudaErrorStreamCaptureUnsupported);
    }
    if (stream == &legacy_stream) {
        if (const cudaError_t error = enter_legacy_stream()) {
            return error;
        }
    }
    return synchronise();
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
    return cudaStreamSynchronize(handle);
}

cudaError_t cudaDeviceSynchronize() {
    Lock lock(mutex);
    if (const cudaError_t error = forbid_waiting_during_capture()) {
        return error;
    }
    land_copies();
    return synchronise();
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *data) {
    Lock lock(mutex);
    return submit(stream, cudaGraphNodeTypeHost, [=] {
        function(data);
        return cudaSuccess;
    });
}

cudaError_t cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t callback, void *data, unsigned) {
    Lock lock(mutex);
    return submit(stream, cudaGraphNodeTypeHost, [=] {
        callback(stream, cudaSuccess, data);
        return cudaSuccess;
    });
}
