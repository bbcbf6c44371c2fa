#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

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
    bool is_complete() const;

  private:
    cudaEvent_t event_ = nullptr;
};

/// The stream's number in DLPack and __cuda_array_interface__, which do not allow 0.
intptr_t protocol_handle(cudaStream_t stream);

/// Makes `stream` wait for the work queued in `other`.
void wait_for_stream(cudaStream_t stream, cudaStream_t other);

/// Device memory from this process's pool, which keeps what is freed. It is freed in stream order, after the work that
/// is known to use it; the caller does not wait. No stream but the pool's own is touched: others may be gone by then.
class DeviceMemory {
  public:
    /// Work in `stream`, or behind it, may use the memory.
    DeviceMemory(size_t bytes, int device, cudaStream_t stream);
    ~DeviceMemory();
    DeviceMemory(const DeviceMemory &) = delete;
    DeviceMemory &operator=(const DeviceMemory &) = delete;

    void *data() const { return data_; }

    /// Work before `event` uses the memory.
    void used_before(std::shared_ptr<Event> event);

    /// Others may queue work that uses the memory: freeing it waits for the device, without the GIL.
    void lend() { lent_ = true; }

  private:
    void *data_ = nullptr;
    int device_;
    bool lent_ = false;
    std::vector<std::shared_ptr<Event>> uses_;  // those that may not be complete
};

}  // namespace retinaface::bindings
