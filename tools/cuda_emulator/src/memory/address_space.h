#pragma once
#include "numbers/type.h"

// Device pointers are host pointers. Shared memory is below 4 GiB, so that PTX's 32-bit addresses of it are pointers
// too. Blocks run one after another and use the same shared memory.

namespace cuda_emulator::memory {

constexpr u32 kLargestShared = 227 * 1024;  ///< per block, static and dynamic
constexpr u32 kSharedWindow = 1 << 20;
constexpr u32 kLargestParameters = 32764 + 64;

u64 shared_base();
u64 parameter_base();

inline bool is_shared(u64 address) {
    return address - shared_base() < kSharedWindow;
}
inline bool is_parameter(u64 address) {
    return address - parameter_base() < kLargestParameters;
}

struct Range {
    u64 start, end;
    bool contains(u64 address, u64 bytes) const { return address >= start && address + bytes <= end; }
};

/// Allocates global memory as a range, aligned to 256 bytes; returns 0 if there is not enough memory.
u64 allocate(size_t bytes, int fill);
/// False if the address was not allocated here.
bool free(u64 address);
/// The allocation that contains an address; an empty allocation contains its own address.
bool find_allocation(u64 address, Range &allocation);
u64 allocated_bytes();

/// Adds host memory that kernels may access.
void add_range(u64 start, u64 bytes);
void remove_range(u64 start);
/// From now on, kernels may access only memory that was allocated or added.
void enable_checks();
bool checks_enabled();

extern Range last_range;  ///< the last result of find_range()
/// Whether all bytes are in one range; gives the start of the range.
bool find_range(u64 address, u32 bytes, u64 &start);
inline bool in_range(u64 address, u32 bytes, u64 &start) {
    if (last_range.contains(address, bytes)) {
        start = last_range.start;
        return true;
    }
    return find_range(address, bytes, start);
}

}  // namespace cuda_emulator::memory
