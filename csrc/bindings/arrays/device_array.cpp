#include "bindings/arrays/device_array.h"

#include <pybind11/stl.h>

#include "bindings/arguments/arguments.h"
#include "bindings/arrays/dlpack.h"
#include "bindings/arrays/unlocked.h"

namespace retinaface::bindings {
namespace {

DlDataType dl_type(ElementType type) {
    auto bits = static_cast<uint8_t>(8 * size_of(type));
    switch (type) {
        case ElementType::kInt32:
            return {kDlInt, bits, 1};
        case ElementType::kUInt8:
            return {kDlUInt, bits, 1};
        case ElementType::kBFloat16:
            return {kDlBFloat, bits, 1};
        default:
            return {kDlFloat, bits, 1};
    }
}

std::string typestr(ElementType type) {
    switch (type) {
        case ElementType::kInt32:
            return "<i4";
        case ElementType::kUInt8:
            return "|u1";
        case ElementType::kFloat16:
            return "<f2";
        default:
            return "<f4";
    }
}

/// Owns what an exported DLPack tensor points to.
struct Exported {
    DlManagedTensor managed;
    Shape shape;
    std::shared_ptr<DeviceMemory> memory;
};

}  // namespace

DeviceArray::DeviceArray(ElementType type, Shape shape, int device, cudaStream_t stream)
    : type_(type), shape_(std::move(shape)), device_(device) {
    if (num_bytes() > 0) {
        memory_ = std::make_shared<DeviceMemory>(num_bytes(), device_, stream);
    }
}

DeviceArray DeviceArray::from_numpy(const py::object &array, const py::object &number) {
    const int device = int_of(number, Name("device"));
    if (!py::isinstance<py::array>(array)) {
        throw InvalidArgument("array is a " + type_name(array) + ", expected a NumPy array");
    }
    Array host = view(array, "array", Place{});
    host.expect_contiguous();
    DeviceArray result(host.type, host.shape, device, nullptr);
    DeviceGuard guard(device);
    check(cudaMemcpy(result.data(), host.data, result.num_bytes(), cudaMemcpyHostToDevice), "copying to the device");
    // It returns once a small copy from pageable memory is staged, and non-blocking streams do not wait for it.
    check(cudaStreamSynchronize(nullptr), "copying to the device");
    return result;
}

DeviceArray DeviceArray::copy_of(const Array &host, const Place &place) {
    host.expect_contiguous();
    auto stream = static_cast<cudaStream_t>(place.stream);
    DeviceArray result(host.type, host.shape, place.device, stream);
    DeviceGuard guard(place.device);
    // It returns once a copy from pageable memory is staged: the array on the host may change then.
    check(cudaMemcpyAsync(result.data(), host.data, result.num_bytes(), cudaMemcpyHostToDevice, stream),
          "copying to the device");
    return result;
}

py::array DeviceArray::to_numpy() const {
    py::array result(py::dtype(name_of(type_)), shape_);
    void *host = result.mutable_data();
    Unlocked unlocked;
    DeviceGuard guard(device_);
    if (filled_ != nullptr) {
        filled_->wait();
    }
    check(cudaMemcpy(host, data(), num_bytes(), cudaMemcpyDeviceToHost), "copying to the host");
    return result;
}

void DeviceArray::filled_by(const Place &place, const std::shared_ptr<Event> &event) {
    place_ = place;
    filled_ = event;
}

Array DeviceArray::view_at(const Place &place) const {
    if (filled_ != nullptr) {
        DeviceGuard guard(device_);
        filled_->make_wait(static_cast<cudaStream_t>(place.stream));
    }
    if (memory_ != nullptr) {
        place.uses->push_back(memory_);
    }
    Array view;
    view.type = type_;
    view.data = data();
    view.shape = shape_;
    view.strides_bytes = contiguous_strides(shape_, size_of(type_));
    view.device = device_;
    return view;
}

void *DeviceArray::lent_data() const {
    if (memory_ != nullptr) {
        memory_->lend();
    }
    return data();
}

py::dict DeviceArray::cuda_array_interface() const {
    if (type_ == ElementType::kBFloat16) {
        throw py::attribute_error("__cuda_array_interface__ does not support bfloat16; use DLPack");
    }
    py::dict interface;
    interface["shape"] = py::tuple(py::cast(shape_));
    interface["typestr"] = typestr(type_);
    interface["data"] = py::make_tuple(reinterpret_cast<uintptr_t>(lent_data()), false);
    interface["strides"] = py::none();
    interface["version"] = 3;
    interface["stream"] = filled_ == nullptr ? py::object(py::none()) : py::int_(protocol_handle(stream()));
    return interface;
}

std::shared_ptr<DeviceMemory> DeviceArray::copy_in(cudaStream_t stream) const {
    auto copy = std::make_shared<DeviceMemory>(num_bytes(), device_, stream);
    check(cudaMemcpyAsync(copy->data(), data(), num_bytes(), cudaMemcpyDeviceToDevice, stream), "copying an array");
    auto copied = std::make_shared<Event>();
    copied->record(stream);
    memory_->used_before(copied);
    return copy;
}

py::capsule DeviceArray::dlpack(const py::object &stream, bool copy) const {
    constexpr intptr_t kNoWait = -1, kNoStream = -2;
    intptr_t handle = protocol_handle(nullptr);
    if (!stream.is_none()) {
        handle = PyLong_Check(stream.ptr()) != 0 ? PyLong_AsSsize_t(stream.ptr()) : kNoStream;
        if (handle < kNoWait || PyErr_Occurred() != nullptr) {
            PyErr_Clear();
            refuse(Name("stream"), stream, "None, -1, or the handle of a stream");
        }
    }
    bool wait = handle != kNoWait;
    auto consumer = wait ? reinterpret_cast<cudaStream_t>(handle) : this->stream();
    DeviceGuard guard(device_);
    if (filled_ != nullptr && wait) {
        filled_->make_wait(consumer);
    }
    auto memory = copy && memory_ != nullptr ? copy_in(consumer) : memory_;
    void *address = nullptr;
    if (memory != nullptr) {
        memory->lend();
        address = memory->data();
    }
    auto exported = std::make_unique<Exported>(Exported{{}, shape_, memory});
    exported->managed.tensor = {address,
                                {kDlCuda, device_},
                                static_cast<int32_t>(shape_.size()),
                                dl_type(type_),
                                exported->shape.data(),
                                nullptr,
                                0};
    exported->managed.context = exported.get();
    exported->managed.deleter = [](DlManagedTensor *self) { delete static_cast<Exported *>(self->context); };
    py::capsule capsule(&exported->managed, kDlCapsule, [](PyObject *object) {
        // A consumer renames the capsule and calls the deleter itself.
        if (PyCapsule_IsValid(object, kDlCapsule) != 0) {
            auto *managed = static_cast<DlManagedTensor *>(PyCapsule_GetPointer(object, kDlCapsule));
            managed->deleter(managed);
        }
    });
    static_cast<void>(exported.release());
    return capsule;
}

void bind_device_array(py::module_ &module) {
    // Local to the module: a second build of it may be loaded in the same process.
    py::class_<DeviceArray>(module, "DeviceArray", py::module_local(),
                            "A C-contiguous array in the memory of a CUDA device.")
        .def_static("from_numpy", &DeviceArray::from_numpy, py::arg("array"), py::arg("device") = 0,
                    "Copies a C-contiguous NumPy array to a device.")
        .def("numpy", &DeviceArray::to_numpy, "Waits until the array is filled and copies it to the host.")
        .def_property_readonly("shape", [](const DeviceArray &self) { return py::tuple(py::cast(self.shape())); })
        .def_property_readonly("dtype", [](const DeviceArray &self) { return py::dtype(name_of(self.type())); })
        .def_property_readonly("device", &DeviceArray::device)
        .def_property_readonly("nbytes", &DeviceArray::num_bytes)
        .def_property_readonly("ptr",
                               [](const DeviceArray &self) { return reinterpret_cast<uintptr_t>(self.lent_data()); })
        .def_property_readonly("__cuda_array_interface__", &DeviceArray::cuda_array_interface)
        .def("__dlpack_device__",
             [](const DeviceArray &self) { return py::make_tuple(static_cast<int>(kDlCuda), self.device()); })
        .def(
            "__dlpack__",
            [](const DeviceArray &self, const py::object &stream, const py::object &, const py::object &dl_device,
               const py::object &copy) {
                const py::tuple own = py::make_tuple(static_cast<int>(kDlCuda), self.device());
                if (!dl_device.is_none() && !dl_device.equal(own)) {
                    throw py::buffer_error("dl_device is " + shown(dl_device) + ", expected None or " + shown(own) +
                                           ", where the array is; numpy() copies it to the host");
                }
                return self.dlpack(stream, !copy.is_none() && bool_of(copy, Name("copy")));
            },
            py::kw_only(), py::arg("stream") = py::none(), py::arg("max_version") = py::none(),
            py::arg("dl_device") = py::none(), py::arg("copy") = py::none())
        .def("__len__", [](const DeviceArray &self) { return self.shape().empty() ? 0 : self.shape()[0]; })
        .def("__repr__", [](const DeviceArray &self) {
            return "DeviceArray(shape=" + to_string(self.shape()) + ", dtype=" + name_of(self.type()) +
                   ", device=" + std::to_string(self.device()) + ")";
        });
}

}  // namespace retinaface::bindings
