#pragma once

#include <cuda_runtime_api.h>

#include <memory>

#include "bindings/arrays/array.h"

namespace retinaface::bindings {

/// A CUDA call failed; becomes engine.errors.CudaError.
class CudaFailure : public std::runtime_error {
  public:
    CudaFailure(cudaError_t status, const std::string &what);
    const char *name() const { return cudaGetErrorName(status_); }
    cudaError_t status() const { return status_; }

  private:
    cudaError_t status_;
};

/// Throws CudaFailure unless `status` is success. `what` says what was tried.
void check(cudaError_t status, const char *what);

/// Makes a device current, and the former one again at the end.
class DeviceGuard {
  public:
    explicit DeviceGuard(int device);
    ~DeviceGuard();
    DeviceGuard(const DeviceGuard &) = delete;
    DeviceGuard &operator=(const DeviceGuard &) = delete;

  private:
    int former_ = 0;
};

/// Workspace allocated and freed in stream order: freed after the work queued so far.
class StreamWorkspace {
  public:
    StreamWorkspace(size_t bytes, cudaStream_t stream);
    ~StreamWorkspace();
    StreamWorkspace(const StreamWorkspace &) = delete;
    StreamWorkspace &operator=(const StreamWorkspace &) = delete;

    void *data() const { return data_; }

  private:
    void *data_ = nullptr;
    cudaStream_t stream_;
};

class Event {
  public:
    Event();
    ~Event();
    Event(const Event &) = delete;
    Event &operator=(const Event &) = delete;

    void record(cudaStream_t stream);
    void make_wait(cudaStream_t stream) const;  // the stream waits
    void wait() const;                          // the caller waits

  private:
    cudaEvent_t event_ = nullptr;
};

/// Makes `stream` wait for the work queued in `other`.
void wait_for_stream(cudaStream_t stream, cudaStream_t other);

/// An array in device memory, from cudaMalloc: it can be used in any stream, and freeing it waits for the device, so
/// work queued on a DLPack view of it completes first.
class DeviceArray {
  public:
    DeviceArray(ElementType type, Shape shape, int device);

    static DeviceArray from_numpy(const py::array &array, int device);
    py::array to_numpy() const;

    /// Records that the work queued in the place's stream so far fills this array.
    void filled_by(const Place &place);

    void *data() const { return memory_.get(); }
    ElementType type() const { return type_; }
    const Shape &shape() const { return shape_; }
    int device() const { return device_; }
    int64_t num_bytes() const { return num_elements(shape_) * size_of(type_); }
    cudaStream_t stream() const { return static_cast<cudaStream_t>(place_.stream); }

    py::dict cuda_array_interface() const;
    /// A view, or a copy that the consumer's stream makes.
    py::capsule dlpack(const py::object &stream, bool copy) const;

  private:
    std::shared_ptr<void> copy_in(cudaStream_t stream) const;

    ElementType type_;
    Shape shape_;
    int device_;
    std::shared_ptr<void> memory_;
    std::shared_ptr<Event> filled_;  // null: nothing to wait for
    Place place_;
};

void bind_device_array(py::module_ &module);

}  // namespace retinaface::bindings
