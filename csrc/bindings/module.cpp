#include <pybind11/pybind11.h>

#include "bindings/operators.h"
#include "common/check.h"
#include "common/parallel.h"
#ifdef RETINAFACE_HAS_CUDA
#include "bindings/arrays/device_array.h"
#endif

namespace py = pybind11;

namespace retinaface::bindings {
namespace {

py::object error_type(const char *name) {
    return py::module_::import("engine.errors").attr(name);
}

/// Translates C++ exceptions to the package's; the only place that does.
void translate(std::exception_ptr error) {
    try {
        std::rethrow_exception(error);
    } catch (const InvalidArgument &invalid) {
        py::set_error(error_type("InvalidArgumentError"), invalid.what());
#ifdef RETINAFACE_HAS_CUDA
    } catch (const CudaFailure &failure) {
        py::object type = error_type("CudaError");
        py::set_error(type, type(failure.what(), failure.name(), static_cast<int>(failure.status())));
#endif
    }
}

constexpr bool has_cuda() {
#ifdef RETINAFACE_HAS_CUDA
    return true;
#else
    return false;
#endif
}

/// 0 also without a driver: a machine without a GPU is not an error.
int cuda_device_count() {
    int count = 0;
#ifdef RETINAFACE_HAS_CUDA
    if (cudaGetDeviceCount(&count) != cudaSuccess) {
        cudaGetLastError();  // clears the error
        count = 0;
    }
#endif
    return count;
}

py::dict build_info() {
    py::dict info;
    info["version"] = RETINAFACE_VERSION;
    info["compiler"] = RETINAFACE_COMPILER;
#ifdef RETINAFACE_HAS_CUDA
    info["cuda_version"] = std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10);
    info["cuda_architectures"] = RETINAFACE_CUDA_ARCHITECTURES;
#else
    info["cuda_version"] = py::none();
    info["cuda_architectures"] = py::none();
#endif
    return info;
}

}  // namespace
}  // namespace retinaface::bindings

PYBIND11_MODULE(_native, module) {
    using namespace retinaface::bindings;
    module.doc() = "Operators of the RetinaFace engine; use engine.ops.";
    module.attr("__version__") = RETINAFACE_VERSION;
    py::register_local_exception_translator(&translate);
    module.def("has_cuda", &has_cuda, "Whether the CUDA kernels were built.");
    module.def(
        "set_default_threads", [](int count) { retinaface::default_threads = count; },
        "Sets how many threads of the CPU the operators use where a call does not say.");
    module.def("cuda_device_count", &cuda_device_count, "Number of usable CUDA devices; 0 without a driver.");
    module.def("build_info", &build_info, "Version, compiler, CUDA version and architectures of this build.");
#ifdef RETINAFACE_HAS_CUDA
    bind_device_array(module);
#endif
    bind_align(module);
    bind_anchor_decode(module);
    bind_batched_nms(module);
    bind_deform_conv(module);
    bind_letterbox(module);
}
