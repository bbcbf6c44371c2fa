#include <pybind11/stl.h>

#include <algorithm>

#include "bindings/arguments/arguments.h"
#include "bindings/arrays/array.h"
#include "bindings/arrays/dlpack.h"
#ifdef RETINAFACE_HAS_CUDA
#include "bindings/arrays/device_array.h"
#endif

namespace retinaface::bindings {
namespace {

[[noreturn]] void fail(const std::string &message) {
    throw InvalidArgument(message);
}

/// Calls `ask`, which asks an array or a stream of another library for what it is. An exception that it raises, and an
/// answer of another kind than the protocol's, are InvalidArgument.
template <typename Ask>
auto asking(const std::string &name, const Ask &ask) {
    try {
        return ask();
    } catch (const py::error_already_set &error) {
        if (!error.matches(PyExc_Exception) || error.matches(PyExc_MemoryError)) {
            throw;
        }
        fail(name + " cannot be read: " + shown(error));
    } catch (const py::cast_error &) {
        fail(name +
             " cannot be read: its protocol (DLPack, __cuda_array_interface__ or __cuda_stream__) gives a value "
             "of another type than it should");
    }
}

/// From the letter that NumPy and __cuda_array_interface__ use for a kind of number.
template <typename Given>
ElementType type_of_kind(char kind, int64_t bytes, const std::string &name, const Given &given) {
    for (auto [letter, type] : {std::pair{'f', ElementType::kFloat32}, std::pair{'f', ElementType::kFloat16},
                                std::pair{'i', ElementType::kInt32}, std::pair{'u', ElementType::kUInt8}}) {
        if (letter == kind && size_of(type) == bytes) {
            return type;
        }
    }
    fail(name + " has dtype " + given() + ", which no operator takes, expected float32, float16, int32 or uint8");
}

Array view_numpy(const py::array &array, const std::string &name) {
    Array view;
    const py::dtype dtype = array.dtype();
    auto given = [&] { return py::str(dtype).cast<std::string>(); };
    char order = dtype.byteorder();
    if (order != '=' && order != '|') {
        fail(name + " has dtype " + given() + ", expected the machine's byte order");
    }
    view.type = type_of_kind(dtype.kind(), array.itemsize(), name, given);
    view.data = const_cast<void *>(array.data());
    view.writable = array.writeable();
    view.shape.assign(array.shape(), array.shape() + array.ndim());
    view.strides_bytes.assign(array.strides(), array.strides() + array.ndim());
    return view;
}

ElementType type_of(const DlDataType &dtype, const std::string &name) {
    constexpr std::pair<DlTypeCode, ElementType> kKnown[] = {{kDlFloat, ElementType::kFloat32},
                                                             {kDlFloat, ElementType::kFloat16},
                                                             {kDlBFloat, ElementType::kBFloat16},
                                                             {kDlInt, ElementType::kInt32},
                                                             {kDlUInt, ElementType::kUInt8}};
    for (auto [code, type] : kKnown) {
        if (dtype.lanes == 1 && dtype.code == code && dtype.bits == 8 * size_of(type)) {
            return type;
        }
    }
    fail(name + " has a dtype of DLPack code " + std::to_string(dtype.code) + " with " + std::to_string(dtype.bits) +
         " bits, which no operator takes, expected float32, float16, bfloat16, int32 or uint8");
}

bool is_host(int32_t dl_device) {
    return dl_device == kDlCpu || dl_device == kDlCudaHost;
}

int device_of_dlpack(const py::object &object, const std::string &name) {
    auto device = object.attr("__dlpack_device__")().cast<std::pair<int32_t, int32_t>>();
    if (is_host(device.first)) {
        return kHost;
    }
    require(device.first == kDlCuda || device.first == kDlCudaManaged, name, " lies on a device of DLPack type ",
            device.first, ", expected the host or a CUDA device");
    return device.second;
}

Array view_dlpack(const py::object &object, const std::string &name, const Place &place) {
    py::object stream = py::none();
    if (!place.on_host()) {
        // In DLPack the default stream is 1 (cudaStreamLegacy); 0 is not allowed.
        auto handle = reinterpret_cast<intptr_t>(place.stream);
        stream = py::int_(handle == 0 ? 1 : handle);
    }
    py::object capsule = object.attr("__dlpack__")(py::arg("stream") = stream);
    // The capsule is not consumed: it frees the tensor when it is deleted.
    auto *managed = static_cast<DlManagedTensor *>(PyCapsule_GetPointer(capsule.ptr(), kDlCapsule));
    if (managed == nullptr) {
        throw py::error_already_set();
    }
    const DlTensor &tensor = managed->tensor;
    Array view;
    view.type = type_of(tensor.dtype, name);
    view.data = static_cast<char *>(tensor.data) + tensor.byte_offset;
    view.shape.assign(tensor.shape, tensor.shape + tensor.num_dims);
    int64_t item = size_of(view.type);
    if (tensor.strides == nullptr) {
        view.strides_bytes = contiguous_strides(view.shape, item);
    } else {
        view.strides_bytes.assign(tensor.strides, tensor.strides + tensor.num_dims);
        std::for_each(view.strides_bytes.begin(), view.strides_bytes.end(), [&](int64_t &stride) { stride *= item; });
    }
    view.device = place.device;
    view.owner = capsule;
    return view;
}

#ifdef RETINAFACE_HAS_CUDA

constexpr const char *kCudaInterface = "__cuda_array_interface__";

int device_of_pointer(const void *pointer, const std::string &name) {
    int device = 0;
    if (pointer == nullptr) {  // an array without elements
        check(cudaGetDevice(&device), "getting the current device");
        return device;
    }
    cudaPointerAttributes attributes{};
    check(cudaPointerGetAttributes(&attributes, pointer), "finding the device of an array");
    require(attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged, name,
            " points to memory that is not a CUDA device's, expected device or managed memory");
    return attributes.device;
}

void *pointer_of(const py::dict &interface) {
    return reinterpret_cast<void *>(interface["data"].cast<py::tuple>()[0].cast<uintptr_t>());
}

/// The stream that __cuda_array_interface__ names, or none.
py::object stream_of(const py::object &object) {
    return py::dict(object.attr(kCudaInterface)).attr("get")("stream", py::none());
}

Array view_cuda_interface(const py::object &object, const std::string &name, const Place &place) {
    py::dict interface = object.attr(kCudaInterface);
    Array view;
    auto dtype = interface["typestr"].cast<std::string>();
    require(dtype.size() >= 3 && (dtype[0] == '<' || dtype[0] == '|'), name, " has dtype ", dtype,
            ", expected a little-endian one");
    view.type = type_of_kind(dtype[1], std::strtoll(dtype.c_str() + 2, nullptr, 10), name, [&] { return dtype; });
    view.data = pointer_of(interface);
    view.writable = !interface["data"].cast<py::tuple>()[1].cast<bool>();
    view.shape = interface["shape"].cast<Shape>();
    py::object strides = interface.attr("get")("strides", py::none());
    view.strides_bytes = strides.is_none() ? contiguous_strides(view.shape, size_of(view.type)) : strides.cast<Shape>();
    view.device = place.device;
    py::object stream = stream_of(object);
    if (!stream.is_none()) {
        DeviceGuard guard(place.device);  // an event belongs to the device that is current
        wait_for_stream(static_cast<cudaStream_t>(place.stream),
                        reinterpret_cast<cudaStream_t>(stream.cast<uintptr_t>()));
    }
    view.owner = object;
    return view;
}

/// The handle of a stream: an int, or an object of CUDA Python, torch, CuPy or PyCUDA.
void *stream_handle(const py::object &stream) {
    py::object handle = stream;
    if (py::hasattr(stream, "__cuda_stream__")) {
        handle = stream.attr("__cuda_stream__");
        handle = (PyCallable_Check(handle.ptr()) != 0 ? handle() : handle).cast<py::tuple>()[1];
    } else {
        for (const char *attribute : {"cuda_stream", "ptr", "handle"}) {
            if (py::hasattr(stream, attribute)) {
                handle = stream.attr(attribute);
                break;
            }
        }
    }
    if (!PyIndex_Check(handle.ptr())) {
        fail("stream is a " + type_name(stream) +
             ", expected None, an integer handle, or an object with __cuda_stream__, cuda_stream, ptr or handle");
    }
    uint64_t address = PyLong_AsUnsignedLongLong(py::int_(handle).ptr());
    if (PyErr_Occurred() != nullptr) {
        PyErr_Clear();
        fail("stream is " + shown(handle) + ", expected a handle from 0 to 2^64 - 1");
    }
    return reinterpret_cast<void *>(address);
}

#endif

bool has_dlpack(const py::object &object) {
    return py::hasattr(object, "__dlpack__") && py::hasattr(object, "__dlpack_device__");
}

int device_of_foreign(const py::object &object, const std::string &name) {
#ifdef RETINAFACE_HAS_CUDA
    if (has_dlpack(object)) {
        return device_of_dlpack(object, name);
    }
    if (py::hasattr(object, kCudaInterface)) {
        return device_of_pointer(pointer_of(object.attr(kCudaInterface)), name);
    }
#else
    if (has_dlpack(object) && device_of_dlpack(object, name) == kHost) {
        return kHost;
    }
    if (has_dlpack(object) || py::hasattr(object, "__cuda_array_interface__")) {
        fail(name + " is a device array, but engine._native was built without CUDA. Install retinaface-trt without " +
             "RETINAFACE_PLUGINS=OFF, or give a NumPy array");
    }
#endif
    fail(name + " is a " + type_name(object) +
         ", expected a NumPy array or a device array (DLPack or __cuda_array_interface__)");
}

int device_of(const py::object &object, const std::string &name) {
    return py::isinstance<py::array>(object) ? kHost : asking(name, [&] { return device_of_foreign(object, name); });
}

std::string place_name(int device) {
    return device == kHost ? "the host" : "CUDA device " + std::to_string(device);
}

}  // namespace

bool is_array(const py::object &object) {
    return py::isinstance<py::array>(object) || has_dlpack(object) || py::hasattr(object, "__cuda_array_interface__");
}

Place place_of(const py::object &first, const std::string &name, const py::object &stream) {
    Place place;
    place.device = device_of(first, name);
#ifdef RETINAFACE_HAS_CUDA
    if (!place.on_host()) {
        place.uses = std::make_shared<std::vector<std::shared_ptr<DeviceMemory>>>();
        place.stream_object = stream;
        if (stream.is_none() && py::isinstance<DeviceArray>(first)) {
            py::object own = first.cast<const DeviceArray &>().place().stream_object;
            place.stream_object = own ? own : py::none();
        } else if (stream.is_none() && py::hasattr(first, kCudaInterface)) {
            place.stream_object = asking(name, [&] { return stream_of(first); });
        }
        if (!place.stream_object.is_none()) {
            place.stream = asking("stream", [&] { return stream_handle(place.stream_object); });
        }
    }
#else
    (void)stream;
#endif
    return place;
}

Array view(const py::object &object, const std::string &name, const Place &place) {
    int device = device_of(object, name);
    require(device == place.device, name, " lies on ", place_name(device), ", expected ", place_name(place.device),
            " like the first array");
    Array result;
    if (py::isinstance<py::array>(object)) {
        result = asking(name, [&] { return view_numpy(py::reinterpret_borrow<py::array>(object), name); });
        result.owner = object;
#ifdef RETINAFACE_HAS_CUDA
    } else if (py::isinstance<DeviceArray>(object)) {
        result = object.cast<const DeviceArray &>().view_at(place);
        result.owner = object;
#endif
    } else if (has_dlpack(object)) {
        result = asking(name, [&] { return view_dlpack(object, name, place); });
    } else {
#ifdef RETINAFACE_HAS_CUDA
        result = asking(name, [&] { return view_cuda_interface(object, name, place); });
#endif
    }
    result.name = name;
    return result;
}

}  // namespace retinaface::bindings
