#pragma once
#include "numbers/type.h"

// Device pointers are pointers of the host. Shared memory lies below 4 GiB, so that the 32-bit addresses that PTX has
// for it are pointers too; blocks run one after another and share it.

namespace cuda_emulator::memory {

constexpr u32 kLargestShared = 227 * 1024;  ///< of a block, static and dynamic
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

/// Allocates global memory that begins at a multiple of 256 and is a range of its own; 0 where there is no memory.
u64 allocate(size_t bytes, int fill);
/// False where that was not allocated here.
bool free(u64 address);
/// The allocation that an address is in; one of no bytes holds its own address.
bool find_allocation(u64 address, Range &allocation);
u64 allocated_bytes();

/// Memory of the host that kernels may use.
void add_range(u64 start, u64 bytes);
void remove_range(u64 start);
/// From now on kernels may use only memory that was allocated or added.
void enable_checks();
bool checks_enabled();

extern Range last_range;  ///< that find_range() found
/// Whether bytes are in one range; gives its start.
bool find_range(u64 address, u32 bytes, u64 &start);
inline bool in_range(u64 address, u32 bytes, u64 &start) {
    if (last_range.contains(address, bytes)) {
        start = last_range.start;
        return true;
    }
    return find_range(address, bytes, start);
}

}  // namespace cuda_emulator::memory
