#include <cstring>

#include "memory/address_space.h"
#include "runtime/errors.h"
#include "runtime/images.h"
#include "runtime/pageable_copies.h"
#include "runtime/streams.h"

// memcpy and memset, also for device variables.

using namespace cuda_emulator;
using namespace cuda_emulator::runtime;

namespace {

/// Whether the bytes are within one allocation.
bool in_allocation(const void *pointer, size_t bytes) {
    memory::Range range;
    const u64 address = reinterpret_cast<u64>(pointer);
    return memory::find_allocation(address, range) && address + bytes <= range.end;
}

/// Memory outside of allocations is host memory, whose size is unknown.
bool overruns_allocation(const void *pointer, size_t bytes) {
    memory::Range range;
    return memory::find_allocation(reinterpret_cast<u64>(pointer), range) && !in_allocation(pointer, bytes);
}

cudaError_t copy(void *to, const void *from, size_t bytes) {
    const bool has_pointers = to && from;
    if (bytes && (!has_pointers || overruns_allocation(to, bytes) || overruns_allocation(from, bytes))) {
        return fail(cudaErrorInvalidValue);
    }
    if (bytes) {
        std::memmove(to, from, bytes);
    }
    return cudaSuccess;
}

cudaError_t set(void *to, int value, size_t bytes) {
    if (bytes && !in_allocation(to, bytes)) {
        return fail(cudaErrorInvalidValue);
    }
    std::memset(to, value, bytes);
    return cudaSuccess;
}

/// Runs work on each row; stops at the first error.
template <class Function>
cudaError_t for_rows(size_t rows, Function work) {
    for (size_t row = 0; row < rows; row++) {
        if (const cudaError_t error = work(row)) {
            return error;
        }
    }
    return cudaSuccess;
}

u8 *offset(void *pointer, size_t bytes) {
    return static_cast<u8 *>(pointer) + bytes;
}
const u8 *offset(const void *pointer, size_t bytes) {
    return static_cast<const u8 *>(pointer) + bytes;
}

cudaError_t copy_rows(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height) {
    if (width > to_pitch || width > from_pitch) {
        return fail(cudaErrorInvalidPitchValue);
    }
    return for_rows(
        height, [&](size_t row) { return copy(offset(to, row * to_pitch), offset(from, row * from_pitch), width); });
}

cudaError_t set_rows(void *to, size_t pitch, int value, size_t width, size_t height) {
    return for_rows(height, [&](size_t row) { return set(offset(to, row * pitch), value, width); });
}

/// The stream of a copy without a stream argument: the legacy default stream.
cudaError_t wait_for_legacy_stream() {
    const cudaError_t error = enter_legacy_stream();
    return error ? error : synchronise();
}

/// Whether cudaMemcpy returns before the bytes are in device memory.
bool is_staged(const void *to, const void *from, size_t bytes) {
    cudaPointerAttributes source, target;
    cudaPointerGetAttributes(&source, from);
    cudaPointerGetAttributes(&target, to);
    return source.type == cudaMemoryTypeUnregistered && target.type == cudaMemoryTypeDevice &&
           bytes <= kMostStagedBytes && in_allocation(to, bytes);
}

/// Gives the address of bytes in a variable.
cudaError_t locate(const void *symbol, size_t bytes, size_t start, u8 *&place) {
    size_t size = 0;
    place = find_variable(symbol, &size);
    if (!place) {
        return fail(cudaErrorInvalidSymbol);
    }
    place += start;
    return start + bytes > size ? fail(cudaErrorInvalidValue) : cudaSuccess;
}

}  // namespace

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind) {
    Lock lock(runtime::mutex);
    if (const cudaError_t error = wait_for_legacy_stream()) {
        return error;
    }
    if (from && is_staged(to, from, bytes)) {
        stage_copy(to, from, bytes);
        return cudaSuccess;
    }
    return copy(to, from, bytes);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
    Lock lock(runtime::mutex);
    return submit(stream, cudaGraphNodeTypeMemcpy, [=] { return copy(to, from, bytes); });
}

cudaError_t cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height,
                         cudaMemcpyKind) {
    Lock lock(runtime::mutex);
    const cudaError_t error = wait_for_legacy_stream();
    return error ? error : copy_rows(to, to_pitch, from, from_pitch, width, height);
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind, cudaStream_t stream) {
    Lock lock(runtime::mutex);
    return submit(stream, cudaGraphNodeTypeMemcpy,
                  [=] { return copy_rows(to, to_pitch, from, from_pitch, width, height); });
}

cudaError_t cudaMemcpyPeer(void *to, int, const void *from, int, size_t bytes) {
    return cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToDevice);
}

cudaError_t cudaMemset(void *to, int value, size_t bytes) {
    Lock lock(runtime::mutex);
    const cudaError_t error = enter_legacy_stream();
    return error ? error : set(to, value, bytes);
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream) {
    Lock lock(runtime::mutex);
    return submit(stream, cudaGraphNodeTypeMemset, [=] { return set(to, value, bytes); });
}

cudaError_t cudaMemset2D(void *to, size_t pitch, int value, size_t width, size_t height) {
    Lock lock(runtime::mutex);
    const cudaError_t error = enter_legacy_stream();
    return error ? error : set_rows(to, pitch, value, width, height);
}

cudaError_t cudaMemset2DAsync(void *to, size_t pitch, int value, size_t width, size_t height, cudaStream_t stream) {
    Lock lock(runtime::mutex);
    return submit(stream, cudaGraphNodeTypeMemset, [=] { return set_rows(to, pitch, value, width, height); });
}

cudaError_t cudaMemcpyToSymbol(const void *symbol, const void *from, size_t bytes, size_t start, cudaMemcpyKind) {
    Lock lock(runtime::mutex);
    u8 *place;
    if (const cudaError_t error = enter_legacy_stream()) {
        return error;
    }
    const cudaError_t error = locate(symbol, bytes, start, place);
    return error ? error : copy(place, from, bytes);
}

cudaError_t cudaMemcpyToSymbolAsync(const void *symbol, const void *from, size_t bytes, size_t start, cudaMemcpyKind,
                                    cudaStream_t stream) {
    Lock lock(runtime::mutex);
    u8 *place;
    const cudaError_t error = locate(symbol, bytes, start, place);
    return error ? error : submit(stream, cudaGraphNodeTypeMemcpy, [=] { return copy(place, from, bytes); });
}

cudaError_t cudaMemcpyFromSymbol(void *to, const void *symbol, size_t bytes, size_t start, cudaMemcpyKind) {
    Lock lock(runtime::mutex);
    u8 *place;
    if (const cudaError_t error = enter_legacy_stream()) {
        return error;
    }
    const cudaError_t error = locate(symbol, bytes, start, place);
    return error ? error : copy(to, place, bytes);
}

cudaError_t cudaMemcpyFromSymbolAsync(void *to, const void *symbol, size_t bytes, size_t start, cudaMemcpyKind,
                                      cudaStream_t stream) {
    Lock lock(runtime::mutex);
    u8 *place;
    const cudaError_t error = locate(symbol, bytes, start, place);
    return error ? error : submit(stream, cudaGraphNodeTypeMemcpy, [=] { return copy(to, place, bytes); });
}

cudaError_t cudaGetSymbolAddress(void **pointer, const void *symbol) {
    Lock lock(runtime::mutex);
    u8 *place;
    if (const cudaError_t error = locate(symbol, 0, 0, place)) {
        return error;
    }
    *pointer = place;
    return cudaSuccess;
}

cudaError_t cudaGetSymbolSize(size_t *bytes, const void *symbol) {
    Lock lock(runtime::mutex);
    return find_variable(symbol, bytes) ? cudaSuccess : fail(cudaErrorInvalidSymbol);
}
