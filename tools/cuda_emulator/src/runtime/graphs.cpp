#include "runtime/errors.h"
#include "runtime/streams.h"

// Stream capture, and graphs: a graph is the list of recorded work, in order.

using namespace cuda_emulator::runtime;

namespace {

Graph *graph_of(cudaGraph_t handle) {
    return reinterpret_cast<Graph *>(handle);
}
Graph *graph_of(cudaGraphExec_t handle) {
    return reinterpret_cast<Graph *>(handle);
}

}  // namespace

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
    static unsigned long long captures_begun = 0;
    Lock lock(mutex);
    Stream *stream = find_stream(handle);
    if (!stream) {
        return fail(cudaErrorInvalidResourceHandle);
    }
    if (stream == &legacy_stream) {
        return fail(cudaErrorStreamCaptureUnsupported);
    }
    if (stream->capture) {
        return fail(cudaErrorIllegalState);
    }
    stream->capture = new Capture{new Graph, mode, stream, ++captures_begun, std::this_thread::get_id()};
    stream->joined = true;
    captures.insert(stream->capture);
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t *graph) {
    Lock lock(mutex);
    if (graph) {
        *graph = nullptr;
    }
    Stream *stream = find_stream(handle);
    if (!stream) {
        return fail(cudaErrorInvalidResourceHandle);
    }
    Capture *capture = stream->capture;
    if (!capture) {
        return fail(cudaErrorIllegalState);
    }
    if (capture->origin != stream) {
        capture->invalid = true;
        return fail(cudaErrorStreamCaptureUnmatched);
    }
    if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != std::this_thread::get_id()) {
        return fail(cudaErrorStreamCaptureWrongThread);
    }
    bool unjoined = false;
    for (Stream *other : streams) {
        if (other->capture == capture) {
            unjoined |= !other->joined && other != stream;
            other->capture = nullptr;
        }
    }
    const cudaError_t error = capture->invalid ? cudaErrorStreamCaptureInvalidated
                              : unjoined       ? cudaErrorStreamCaptureUnjoined
                                               : cudaSuccess;
    if (!error && graph) {
        *graph = reinterpret_cast<cudaGraph_t>(capture->graph);
    } else {
        delete capture->graph;
    }
    captures.erase(capture);
    delete capture;
    return error ? fail(error) : cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus *status) {
    Lock lock(mutex);
    const Stream *stream = find_stream(handle);
    if (!stream) {
        return fail(cudaErrorInvalidResourceHandle);
    }
    *status = !stream->capture           ? cudaStreamCaptureStatusNone
              : stream->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                         : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle, cudaStreamCaptureStatus *status, unsigned long long *id,
                                     cudaGraph_t *graph, const cudaGraphNode_t **dependencies,
                                     const cudaGraphEdgeData **edges, size_t *count) {
    Lock lock(mutex);
    if (const cudaError_t error = cudaStreamIsCapturing(handle, status)) {
        return error;
    }
    const Capture *capture = find_stream(handle)->capture;
    if (id) {
        *id = capture ? capture->id : 0;
    }
    if (graph) {
        *graph = capture ? reinterpret_cast<cudaGraph_t>(capture->graph) : nullptr;
    }
    if (dependencies) {
        *dependencies = nullptr;
    }
    if (edges) {
        *edges = nullptr;
    }
    if (count) {
        *count = 0;
    }
    return cudaSuccess;
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode *mode) {
    std::swap(thread_capture_mode, *mode);
    return cudaSuccess;
}

cudaError_t cudaGraphCreate(cudaGraph_t *graph, unsigned) {
    *graph = reinterpret_cast<cudaGraph_t>(new Graph);
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long) {
    if (!graph) {
        return fail(cudaErrorInvalidValue);
    }
    *executable = reinterpret_cast<cudaGraphExec_t>(new Graph(*graph_of(graph)));
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long flags) {
    return cudaGraphInstantiate(executable, graph, flags);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
    Lock lock(mutex);
    if (!executable) {
        return fail(cudaErrorInvalidValue);
    }
    const Graph &graph = *graph_of(executable);
    for (size_t i = 0; i < graph.nodes.size(); i++) {
        if (const cudaError_t error = submit(stream, graph.types[i], graph.nodes[i])) {
            return error;
        }
    }
    return cudaSuccess;
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t executable, cudaGraph_t graph, cudaGraphExecUpdateResultInfo *info) {
    Lock lock(mutex);
    Graph &current = *graph_of(executable);
    const Graph &other = *graph_of(graph);
    const bool same = current.types == other.types;
    if (info) {
        *info = {};
        info->result = same ? cudaGraphExecUpdateSuccess : cudaGraphExecUpdateErrorTopologyChanged;
    }
    if (!same) {
        return fail(cudaErrorGraphExecUpdateFailure);
    }
    current = other;
    return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *, size_t *count) {
    *count = graph_of(graph)->nodes.size();
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph_of(graph);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
    delete graph_of(executable);
    return cudaSuccess;
}
