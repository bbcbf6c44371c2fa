// Calls plugin objects as TensorRT does, for the tests. Plugins have virtual functions, which Python cannot call, so
// this is a plain C interface to them. TensorRT's structures without virtual functions are passed unchanged.
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "NvInferRuntime.h"

#define RF_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using namespace nvinfer1;

std::string log_lines;
int32_t pretended_major = 10;

// ILogger in the layouts of TensorRT 10 and of TensorRT 11, whichever headers are used here.
class Logger10 {
  public:
    virtual void log(ILogger::Severity, const char *message) noexcept { (log_lines += message) += '\n'; }
    virtual ~Logger10() = default;
};

class Logger11 : public IVersionedInterface {
  public:
    InterfaceInfo getInterfaceInfo() const noexcept override { return {"ILogger", 1, 0}; }
    virtual void log(ILogger::Severity, const char *message) noexcept { (log_lines += message) += '\n'; }
};

Logger10 logger_10;
Logger11 logger_11;

// Dimension expressions are numbers here; -1 is unknown during the build.
class Dimension : public IDimensionExpr, public apiv::VDimensionExpr {
  public:
    explicit Dimension(int64_t value) : value_(value) { mImpl = this; }
    bool isConstant() const override { return value_ >= 0; }
    int64_t getConstantValue() const override { return value_; }
    bool isSizeTensor() const override { return false; }

  private:
    int64_t value_;
};

class Expressions : public IExprBuilder, public apiv::VExprBuilder {
  public:
    Expressions() { mImpl = this; }
    const IDimensionExpr *constant(int64_t value) override { return &kept_.emplace_back(value); }
    const IDimensionExpr *operation(DimensionOperation, const IDimensionExpr &, const IDimensionExpr &) override {
        return nullptr;
    }
    const IDimensionExpr *declareSizeTensor(int32_t, const IDimensionExpr &, const IDimensionExpr &) override {
        return nullptr;
    }
    DimsExprs from(const Dims &dims) {
        DimsExprs exprs{dims.nbDims, {}};
        for (int32_t i = 0; i < dims.nbDims; ++i) {
            exprs.d[i] = constant(dims.d[i]);
        }
        return exprs;
    }

  private:
    std::deque<Dimension> kept_;
};

template <typename Capability>
Capability *capability_of(IPluginV3 *plugin, PluginCapabilityType type) {
    return static_cast<Capability *>(plugin->getCapabilityInterface(type));
}
auto *core_of(IPluginV3 *plugin) {
    return capability_of<IPluginV3OneCore>(plugin, PluginCapabilityType::kCORE);
}
auto *build_of(IPluginV3 *plugin) {
    return capability_of<IPluginV3OneBuild>(plugin, PluginCapabilityType::kBUILD);
}
auto *runtime_of(IPluginV3 *plugin) {
    return capability_of<IPluginV3OneRuntime>(plugin, PluginCapabilityType::kRUNTIME);
}

}  // namespace

// The functions that a plugin library looks up in TensorRT to find its logger.
RF_EXPORT ILogger *getLogger() noexcept {
    void *logger = pretended_major >= 11 ? static_cast<void *>(&logger_11) : static_cast<void *>(&logger_10);
    return static_cast<ILogger *>(logger);
}
RF_EXPORT int32_t getInferLibMajorVersion() noexcept {
    return pretended_major;
}
RF_EXPORT int32_t getInferLibMinorVersion() noexcept {
    return 0;
}

/// Loads a library and passes it a logger finder, as TensorRT of that major version does. Null and a log line on
/// failure.
RF_EXPORT void *driver_load(const char *path, int32_t tensorrt_major) {
    pretended_major = tensorrt_major;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        (log_lines += dlerror()) += '\n';
        return nullptr;
    }
    // The library uses only the address of the finder's virtual table.
    reinterpret_cast<void (*)(void *)>(dlsym(library, "setLoggerFinder"))(&logger_10);
    return library;
}

/// The lines logged since the last call.
RF_EXPORT const char *driver_log() {
    static std::string taken;
    taken.swap(log_lines);
    log_lines.clear();
    return taken.c_str();
}

RF_EXPORT IPluginCreatorV3One *driver_creator(void *library, int32_t index) {
    int32_t count = 0;
    using GetCreators = IPluginCreatorInterface *const *(*)(int32_t &);
    auto *creators = reinterpret_cast<GetCreators>(dlsym(library, "getCreators"))(count);
    return index < count ? static_cast<IPluginCreatorV3One *>(creators[index]) : nullptr;
}
RF_EXPORT const char *driver_creator_name(IPluginCreatorV3One *creator) {
    return creator->getPluginName();
}
RF_EXPORT const char *driver_creator_version(IPluginCreatorV3One *creator) {
    return creator->getPluginVersion();
}
RF_EXPORT const char *driver_creator_namespace(IPluginCreatorV3One *creator) {
    return creator->getPluginNamespace();
}
RF_EXPORT const PluginFieldCollection *driver_creator_fields(IPluginCreatorV3One *creator) {
    return creator->getFieldNames();
}
RF_EXPORT IPluginV3 *driver_create(IPluginCreatorV3One *creator, const PluginFieldCollection *fields, int32_t phase) {
    return creator->createPlugin("node", fields, static_cast<TensorRTPhase>(phase));
}

RF_EXPORT void driver_destroy(IPluginV3 *plugin) {
    delete plugin;
}
RF_EXPORT IPluginV3 *driver_clone(IPluginV3 *plugin) {
    return plugin->clone();
}
RF_EXPORT IPluginV3 *driver_attach(IPluginV3 *plugin) {
    return runtime_of(plugin)->attachToContext(nullptr);
}
RF_EXPORT const char *driver_name(IPluginV3 *plugin) {
    return core_of(plugin)->getPluginName();
}
RF_EXPORT const char *driver_version(IPluginV3 *plugin) {
    return core_of(plugin)->getPluginVersion();
}
RF_EXPORT const PluginFieldCollection *driver_fields(IPluginV3 *plugin) {
    return runtime_of(plugin)->getFieldsToSerialize();
}

RF_EXPORT int32_t driver_num_outputs(IPluginV3 *plugin) {
    return build_of(plugin)->getNbOutputs();
}
RF_EXPORT int32_t driver_output_types(IPluginV3 *plugin, const DataType *inputs, int32_t num_inputs, DataType *outputs,
                                      int32_t num_outputs) {
    return build_of(plugin)->getOutputDataTypes(outputs, num_outputs, inputs, num_inputs);
}
RF_EXPORT int32_t driver_output_shapes(IPluginV3 *plugin, const Dims *inputs, int32_t num_inputs, Dims *outputs,
                                       int32_t num_outputs) {
    Expressions builder;
    DimsExprs in[64], out[64];
    for (int32_t i = 0; i < num_inputs; ++i) {
        in[i] = builder.from(inputs[i]);
    }
    int32_t status = build_of(plugin)->getOutputShapes(in, num_inputs, nullptr, 0, out, num_outputs, builder);
    for (int32_t i = 0; status == 0 && i < num_outputs; ++i) {
        outputs[i].nbDims = out[i].nbDims;
        for (int32_t j = 0; j < out[i].nbDims; ++j) {
            outputs[i].d[j] = out[i].d[j]->getConstantValue();
        }
    }
    return status;
}
RF_EXPORT bool driver_supports(IPluginV3 *plugin, int32_t position, const DynamicPluginTensorDesc *tensors,
                               int32_t num_inputs, int32_t num_outputs) {
    return build_of(plugin)->supportsFormatCombination(position, tensors, num_inputs, num_outputs);
}
RF_EXPORT int32_t driver_configure(IPluginV3 *plugin, const DynamicPluginTensorDesc *tensors, int32_t num_inputs,
                                   int32_t num_outputs) {
    return build_of(plugin)->configurePlugin(tensors, num_inputs, tensors + num_inputs, num_outputs);
}
RF_EXPORT size_t driver_workspace(IPluginV3 *plugin, const DynamicPluginTensorDesc *tensors, int32_t num_inputs,
                                  int32_t num_outputs) {
    return build_of(plugin)->getWorkspaceSize(tensors, num_inputs, tensors + num_inputs, num_outputs);
}
RF_EXPORT int32_t driver_shape_change(IPluginV3 *plugin, const PluginTensorDesc *tensors, int32_t num_inputs,
                                      int32_t num_outputs) {
    return runtime_of(plugin)->onShapeChange(tensors, num_inputs, tensors + num_inputs, num_outputs);
}
RF_EXPORT int32_t driver_enqueue(IPluginV3 *plugin, const PluginTensorDesc *tensors, int32_t num_inputs,
                                 const void *const *inputs, void *const *outputs, void *workspace,
                                 cudaStream_t stream) {
    return runtime_of(plugin)->enqueue(tensors, tensors + num_inputs, inputs, outputs, workspace, stream);
}

// Device memory and streams, through the runtime that the plugin library uses too. Statuses are cudaError_t.
RF_EXPORT void *driver_allocate(size_t bytes) {
    void *pointer = nullptr;
    return cudaMalloc(&pointer, bytes) == cudaSuccess ? pointer : nullptr;
}
RF_EXPORT int32_t driver_free(void *pointer) {
    return cudaFree(pointer);
}
RF_EXPORT int32_t driver_upload(void *device, const void *host, size_t bytes) {
    cudaError_t status = cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice);
    // It returns once a small copy from pageable memory is staged, and the stream of driver_stream does not wait for
    // it.
    return status == cudaSuccess ? cudaStreamSynchronize(nullptr) : status;
}
RF_EXPORT int32_t driver_download(void *host, const void *device, size_t bytes) {
    return cudaMemcpy(host, device, bytes, cudaMemcpyDeviceToHost);
}
RF_EXPORT cudaStream_t driver_stream() {
    cudaStream_t stream = nullptr;
    return cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess ? stream : nullptr;
}
RF_EXPORT int32_t driver_synchronise(cudaStream_t stream) {
    return cudaStreamSynchronize(stream);
}
RF_EXPORT int32_t driver_begin_capture(cudaStream_t stream) {
    return cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
}
/// Returns the captured graph, ready to launch; null if the capture failed.
RF_EXPORT cudaGraphExec_t driver_end_capture(cudaStream_t stream) {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    if (cudaStreamEndCapture(stream, &graph) == cudaSuccess) {
        cudaGraphInstantiate(&executable, graph, 0);
        cudaGraphDestroy(graph);
    }
    return executable;
}
/// Launches a graph `launches` times, synchronises and destroys it.
RF_EXPORT int32_t driver_replay(cudaGraphExec_t executable, cudaStream_t stream, int32_t launches) {
    cudaError_t status = cudaSuccess;
    for (int32_t i = 0; status == cudaSuccess && i < launches; ++i) {
        status = cudaGraphLaunch(executable, stream);
    }
    if (status == cudaSuccess) {
        status = cudaStreamSynchronize(stream);
    }
    cudaGraphExecDestroy(executable);
    return status;
}
/// Launches a graph once, then `replays` times without a pause, gives the milliseconds of each of these by events, and
/// destroys it.
RF_EXPORT int32_t driver_time_replays(cudaGraphExec_t executable, cudaStream_t stream, float *ms, int32_t replays) {
    std::vector<cudaEvent_t> events(replays + 1);
    cudaError_t status = cudaSuccess;
    for (auto &event : events) {
        status = status == cudaSuccess ? cudaEventCreate(&event) : status;
    }
    for (const auto &event : events) {
        status = status == cudaSuccess ? cudaGraphLaunch(executable, stream) : status;
        status = status == cudaSuccess ? cudaEventRecord(event, stream) : status;
    }
    if (status == cudaSuccess) {
        status = cudaStreamSynchronize(stream);
    }
    for (int32_t i = 0; status == cudaSuccess && i < replays; ++i) {
        status = cudaEventElapsedTime(&ms[i], events[i], events[i + 1]);
    }
    for (const auto &event : events) {
        if (event != nullptr) {
            cudaEventDestroy(event);
        }
    }
    cudaGraphExecDestroy(executable);
    return status;
}
