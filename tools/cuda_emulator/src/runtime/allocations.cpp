#include <algorithm>
#include <map>
#include <set>

#include "memory/address_space.h"
#include "runtime/errors.h"
#include "runtime/pageable_copies.h"
#include "runtime/settings.h"
#include "runtime/streams.h"

using namespace cuda_emulator;
using namespace cuda_emulator::runtime;

namespace {

/// The pattern of new memory, so that its use is likely to be noticed.
constexpr int kUnsetByte = 0xcd;

/// What is freed stays reserved for the pool's next allocations, up to the threshold.
struct Pool {
    u64 threshold = 0, used = 0, reserved = 0;
};

struct Allocation {
    cudaMemoryType type;
    unsigned flags;
    u64 bytes;
    Pool *pool;
};

std::map<u64, Allocation> allocations;  // by start
std::map<u64, u64> registered;          // sizes of registered host memory, by start
Pool default_pool;
std::set<Pool *> pools = {&default_pool};

u64 reserved_unused_bytes() {
    u64 sum = 0;
    for (const Pool *pool : pools) {
        sum += pool->reserved - pool->used;
    }
    return sum;
}

Pool *find_pool(cudaMemPool_t handle) {
    Pool *pool = reinterpret_cast<Pool *>(handle);
    return pools.count(pool) ? pool : nullptr;
}

u64 address_of(const void *pointer) {
    return reinterpret_cast<u64>(pointer);
}

cudaError_t allocate(void **pointer, size_t bytes, cudaMemoryType type, unsigned flags = 0, Pool *pool = nullptr) {
    if (!pointer) {
        return fail(cudaErrorInvalidValue);
    }
    *pointer = nullptr;
    if (const cudaError_t error = sticky_error()) {
        return error;
    }
    if (bytes == 0) {
        return cudaSuccess;
    }
    if (memory::allocated_bytes() + bytes > device_memory_bytes()) {
        return fail(cudaErrorMemoryAllocation);
    }
    const u64 address = memory::allocate(bytes, kUnsetByte);
    if (!address) {
        return fail(cudaErrorMemoryAllocation);
    }
    memory::enable_checks();
    allocations[address] = {type, flags, bytes, pool};
    if (pool) {
        pool->used += bytes;
        pool->reserved = std::max(pool->reserved, pool->used);
    }
    *pointer = reinterpret_cast<void *>(address);
    return cudaSuccess;
}

/// Allocates outside of the order of streams.
cudaError_t allocate_at_once(void **pointer, size_t bytes, cudaMemoryType type, unsigned flags = 0) {
    const cudaError_t error = forbid_during_capture();
    return error ? error : allocate(pointer, bytes, type, flags);
}

cudaError_t release(void *pointer, bool of_host) {
    if (const cudaError_t error = sticky_error()) {
        return error;
    }
    if (!pointer) {
        return cudaSuccess;
    }
    const auto found = allocations.find(address_of(pointer));
    if (found == allocations.end() || (found->second.type == cudaMemoryTypeHost) != of_host) {
        return fail(cudaErrorInvalidValue);
    }
    drop_copies(address_of(pointer), address_of(pointer) + found->second.bytes);
    if (Pool *pool = found->second.pool) {
        pool->used -= found->second.bytes;
        pool->reserved = std::max(pool->used, std::min(pool->reserved, pool->threshold));
    }
    allocations.erase(found);
    memory::free(address_of(pointer));
    return cudaSuccess;
}

/// Frees outside of the order of streams, after all their work.
cudaError_t release_at_once(void *pointer, bool of_host) {
    if (const cudaError_t error = forbid_during_capture()) {
        return error;
    }
    land_copies();
    return release(pointer, of_host);
}

}  // namespace

cudaError_t cudaMalloc(void **pointer, size_t bytes) {
    Lock lock(runtime::mutex);
    return allocate_at_once(pointer, bytes, cudaMemoryTypeDevice);
}

cudaError_t cudaFree(void *pointer) {
    Lock lock(runtime::mutex);
    return release_at_once(pointer, false);
}

cudaError_t cudaMallocFromPoolAsync(void **pointer, size_t bytes, cudaMemPool_t handle, cudaStream_t stream) {
    Lock lock(runtime::mutex);
    Pool *pool = find_pool(handle);
    if (!pool) {
        return fail(cudaErrorInvalidValue);
    }
    return find_stream(stream) ? allocate(pointer, bytes, cudaMemoryTypeDevice, 0, pool)
                               : fail(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaMallocAsync(void **pointer, size_t bytes, cudaStream_t stream) {
    return cudaMallocFromPoolAsync(pointer, bytes, reinterpret_cast<cudaMemPool_t>(&default_pool), stream);
}

cudaError_t cudaFreeAsync(void *pointer, cudaStream_t handle) {
    Lock lock(runtime::mutex);
    const Stream *stream = find_stream(handle);
    if (!stream) {
        return fail(cudaErrorInvalidResourceHandle);
    }
    // Memory that is freed during a capture stays allocated for the graph's launches.
    return stream->capture ? cudaSuccess : release(pointer, false);
}

cudaError_t cudaMallocManaged(void **pointer, size_t bytes, unsigned) {
    Lock lock(runtime::mutex);
    return allocate_at_once(pointer, bytes, cudaMemoryTypeManaged);
}

cudaError_t cudaMallocHost(void **pointer, size_t bytes) {
    return cudaHostAlloc(pointer, bytes, 0);
}

cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned flags) {
    Lock lock(runtime::mutex);
    return allocate_at_once(pointer, bytes, cudaMemoryTypeHost, flags);
}

cudaError_t cudaFreeHost(void *pointer) {
    Lock lock(runtime::mutex);
    return release_at_once(pointer, true);
}

cudaError_t cudaMallocPitch(void **pointer, size_t *pitch, size_t width, size_t height) {
    *pitch = (width + kTextureAlignment - 1) / kTextureAlignment * kTextureAlignment;
    return cudaMalloc(pointer, *pitch * height);
}

cudaError_t cudaHostRegister(void *pointer, size_t bytes, unsigned) {
    Lock lock(runtime::mutex);
    if (!pointer || bytes == 0) {
        return fail(cudaErrorInvalidValue);
    }
    if (registered.count(address_of(pointer))) {
        return fail(cudaErrorHostMemoryAlreadyRegistered);
    }
    registered[address_of(pointer)] = bytes;
    memory::add_range(address_of(pointer), bytes);
    return cudaSuccess;
}

cudaError_t cudaHostUnregister(void *pointer) {
    Lock lock(runtime::mutex);
    if (!registered.erase(address_of(pointer))) {
        return fail(cudaErrorHostMemoryNotRegistered);
    }
    memory::remove_range(address_of(pointer));
    return cudaSuccess;
}

cudaError_t cudaHostGetDevicePointer(void **device_pointer, void *pointer, unsigned) {
    *device_pointer = pointer;
    return cudaSuccess;
}

cudaError_t cudaHostGetFlags(unsigned *flags, void *pointer) {
    Lock lock(runtime::mutex);
    const auto found = allocations.find(address_of(pointer));
    if (found == allocations.end()) {
        return fail(cudaErrorInvalidValue);
    }
    *flags = found->second.flags;
    return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *attributes, const void *pointer) {
    Lock lock(runtime::mutex);
    const u64 address = address_of(pointer);
    void *const same = const_cast<void *>(pointer);
    *attributes = {};
    attributes->type = cudaMemoryTypeUnregistered;
    attributes->device = -1;
    attributes->hostPointer = same;
    memory::Range range;
    if (memory::find_allocation(address, range)) {
        const auto found = allocations.find(range.start);  // not found if it is a variable of a module
        attributes->type = found == allocations.end() ? cudaMemoryTypeDevice : found->second.type;
        attributes->device = 0;
        attributes->devicePointer = same;
        attributes->hostPointer = attributes->type == cudaMemoryTypeDevice ? nullptr : same;
        return cudaSuccess;
    }
    for (const auto &[start, bytes] : registered) {
        if (address >= start && address < start + bytes) {
            attributes->type = cudaMemoryTypeHost;
            attributes->device = 0;
            attributes->devicePointer = same;
        }
    }
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
    Lock lock(runtime::mutex);
    const u64 total = device_memory_bytes();
    *total_bytes = total;
    *free_bytes = total - std::min(total, memory::allocated_bytes() + reserved_unused_bytes());
    return cudaSuccess;
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int) {
    *pool = reinterpret_cast<cudaMemPool_t>(&default_pool);
    return cudaSuccess;
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t *pool, const cudaMemPoolProps *) {
    Lock lock(runtime::mutex);
    *pool = reinterpret_cast<cudaMemPool_t>(*pools.insert(new Pool).first);
    return cudaSuccess;
}

cudaError_t cudaMemPoolDestroy(cudaMemPool_t handle) {
    Lock lock(runtime::mutex);
    Pool *pool = find_pool(handle);
    if (!pool || pool == &default_pool) {
        return fail(cudaErrorInvalidValue);
    }
    pools.erase(pool);  // not deleted: allocations may outlive it
    return cudaSuccess;
}

cudaError_t cudaDeviceGetMemPool(cudaMemPool_t *pool, int device) {
    return cudaDeviceGetDefaultMemPool(pool, device);
}

// Only the threshold has an effect.
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t handle, cudaMemPoolAttr attribute, void *value) {
    Lock lock(runtime::mutex);
    Pool *pool = find_pool(handle);
    if (!pool) {
        return fail(cudaErrorInvalidValue);
    }
    if (attribute == cudaMemPoolAttrReleaseThreshold) {
        pool->threshold = *static_cast<u64 *>(value);
    }
    return cudaSuccess;
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t handle, cudaMemPoolAttr attribute, void *value) {
    Lock lock(runtime::mutex);
    const Pool *pool = find_pool(handle);
    if (!pool) {
        return fail(cudaErrorInvalidValue);
    }
    *static_cast<u64 *>(value) = attribute == cudaMemPoolAttrReleaseThreshold     ? pool->threshold
                                 : attribute == cudaMemPoolAttrReservedMemCurrent ? pool->reserved
                                 : attribute == cudaMemPoolAttrUsedMemCurrent     ? pool->used
                                                                                  : 0;
    return cudaSuccess;
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t handle, size_t bytes) {
    Lock lock(runtime::mutex);
    Pool *pool = find_pool(handle);
    if (!pool) {
        return fail(cudaErrorInvalidValue);
    }
    pool->reserved = std::max(pool->used, std::min<u64>(pool->reserved, bytes));
    return cudaSuccess;
}

cudaError_t cudaMemPrefetchAsync(const void *, size_t, cudaMemLocation, unsigned, cudaStream_t) {
    return cudaSuccess;
}

cudaError_t cudaMemAdvise(const void *, size_t, cudaMemoryAdvise, cudaMemLocation) {
    return cudaSuccess;
}
