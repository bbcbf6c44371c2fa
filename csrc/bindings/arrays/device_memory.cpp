#include "bindings/arrays/device_memory.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>

#include "bindings/arrays/unlocked.h"

namespace retinaface::bindings {
namespace {

struct Pool {
    cudaMemPool_t memory = nullptr;
    cudaStream_t frees = nullptr;
};

Pool make_pool(int device) {
    cudaMemPoolProps properties{};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.location = {cudaMemLocationTypeDevice, device};
    Pool pool;
    check(cudaMemPoolCreate(&pool.memory, &properties), "making a memory pool");
    // The default is 0: every synchronisation would give free memory back to the system, and calls would ask for it
    // again.
    uint64_t all = UINT64_MAX;
    check(cudaMemPoolSetAttribute(pool.memory, cudaMemPoolAttrReleaseThreshold, &all), "making a memory pool");
    check(cudaStreamCreateWithFlags(&pool.frees, cudaStreamNonBlocking), "making a stream");
    return pool;
}

/// The pool of the current device. Pools are never destroyed: at the end of the process the driver may be gone.
const Pool &pool_of(int device) {
    static std::mutex mutex;
    static auto *pools = new std::map<int, Pool>;
    std::lock_guard<std::mutex> lock(mutex);
    auto found = pools->find(device);
    return found != pools->end() ? found->second : pools->emplace(device, make_pool(device)).first->second;
}

void wait_for_device() {
    // A consumer of DLPack may free in a thread without the GIL.
    std::optional<Unlocked> unlocked;
    if (Py_IsInitialized() != 0 && PyGILState_Check() != 0) {
        unlocked.emplace();
    }
    static_cast<void>(cudaDeviceSynchronize());
}

}  // namespace

CudaFailure::CudaFailure(cudaError_t status, const std::string &what)
    : std::runtime_error(what + " failed: " + cudaGetErrorName(status) + " (" + cudaGetErrorString(status) + ")"),
      status_(status) {}

void check(cudaError_t status, const char *what) {
    if (status != cudaSuccess) {
        cudaGetLastError();  // clears it: this exception reports it
        throw CudaFailure(status, what);
    }
}

DeviceGuard::DeviceGuard(int device) {
    check(cudaGetDevice(&former_), "getting the current device");
    check(cudaSetDevice(device), "choosing the device");
}

DeviceGuard::~DeviceGuard() {
    static_cast<void>(cudaSetDevice(former_));
}

StreamWorkspace::StreamWorkspace(size_t bytes, cudaStream_t stream) : stream_(stream) {
    if (bytes > 0) {
        int device;
        check(cudaGetDevice(&device), "getting the current device");
        check(cudaMallocFromPoolAsync(&data_, bytes, pool_of(device).memory, stream), "allocating workspace");
    }
}

StreamWorkspace::~StreamWorkspace() {
    if (data_ != nullptr) {
        static_cast<void>(cudaFreeAsync(data_, stream_));
    }
}

Event::Event() {
    check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "creating an event");
}

Event::~Event() {
    static_cast<void>(cudaEventDestroy(event_));
}

void Event::record(cudaStream_t stream) {
    check(cudaEventRecord(event_, stream), "recording an event");
}

void Event::make_wait(cudaStream_t stream) const {
    check(cudaStreamWaitEvent(stream, event_, 0), "waiting for an event in a stream");
}

bool Event::is_complete() const {
    return cudaEventQuery(event_) == cudaSuccess;
}

void Event::wait() const {
    check(cudaEventSynchronize(event_), "waiting for a stream");
}

intptr_t protocol_handle(cudaStream_t stream) {
    return stream == nullptr ? 1 : reinterpret_cast<intptr_t>(stream);
}

void wait_for_stream(cudaStream_t stream, cudaStream_t other) {
    if (protocol_handle(stream) != protocol_handle(other)) {
        Event event;
        event.record(other);
        event.make_wait(stream);
    }
}

DeviceMemory::DeviceMemory(size_t bytes, int device, cudaStream_t stream) : device_(device) {
    DeviceGuard guard(device);
    check(cudaMallocFromPoolAsync(&data_, bytes, pool_of(device).memory, stream), "allocating device memory");
}

DeviceMemory::~DeviceMemory() {
    // A destructor cannot report errors; at the end of the process the driver may be gone.
    try {
        DeviceGuard guard(device_);
        if (lent_) {
            wait_for_device();
        }
        const Pool &pool = pool_of(device_);
        for (const auto &event : uses_) {
            event->make_wait(pool.frees);
        }
        static_cast<void>(cudaFreeAsync(data_, pool.frees));
    } catch (const CudaFailure &) {
    }
}

void DeviceMemory::used_before(std::shared_ptr<Event> event) {
    uses_.erase(std::remove_if(uses_.begin(), uses_.end(), [](const auto &use) { return use->is_complete(); }),
                uses_.end());
    uses_.push_back(std::move(event));
}

}  // namespace retinaface::bindings
