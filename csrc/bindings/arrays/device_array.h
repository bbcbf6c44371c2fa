#pragma once

#include <memory>

#include "bindings/arrays/array.h"
#include "bindings/arrays/device_memory.h"

namespace retinaface::bindings {

/// An array in device memory. It can be used in any stream: its memory is freed after work of this module that uses it,
/// and, if it was ever given away through a pointer or a protocol, after all work of the device.
class DeviceArray {
  public:
    /// Uninitialised; for work in `stream`, or behind it.
    DeviceArray(ElementType type, Shape shape, int device, cudaStream_t stream);

    static DeviceArray from_numpy(const py::object &array, const py::object &device);
    /// A copy, in the place's stream, of a contiguous array on the host.
    static DeviceArray copy_of(const Array &host, const Place &place);
    py::array to_numpy() const;

    /// Records that the work in the place's stream before `event` fills this array.
    void filled_by(const Place &place, const std::shared_ptr<Event> &event);

    /// Views the array for an operator: the place's stream waits for the work that fills it.
    Array view_at(const Place &place) const;

    /// Where the work runs that fills it.
    const Place &place() const { return place_; }

    /// The address, for users that this module knows nothing of.
    void *lent_data() const;
    ElementType type() const { return type_; }
    const Shape &shape() const { return shape_; }
    int device() const { return device_; }
    int64_t num_bytes() const { return num_elements(shape_) * size_of(type_); }
    cudaStream_t stream() const { return static_cast<cudaStream_t>(place_.stream); }

    py::dict cuda_array_interface() const;
    /// A view, or a copy that the consumer's stream makes.
    py::capsule dlpack(const py::object &stream, bool copy) const;

  private:
    void *data() const { return memory_ == nullptr ? nullptr : memory_->data(); }
    std::shared_ptr<DeviceMemory> copy_in(cudaStream_t stream) const;

    ElementType type_;
    Shape shape_;
    int device_;
    std::shared_ptr<DeviceMemory> memory_;  // null: no elements
    std::shared_ptr<Event> filled_;         // null: nothing to wait for
    Place place_;
};

void bind_device_array(py::module_ &module);

}  // namespace retinaface::bindings
