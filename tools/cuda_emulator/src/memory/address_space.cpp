#include "memory/address_space.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>

namespace cuda_emulator::memory {
namespace {

constexpr Range kNoRange = {1, 0};

std::map<u64, u64> range_ends;        // by start
std::map<u64, u64> allocation_sizes;  // by start
u64 total_bytes = 0;
bool checking = false;

// Finds the highest free place below 4 GiB. MAP_32BIT only searches the second GiB, which the heap of a program at low
// addresses (Debian's Python) can fill.
u64 map_below_4_gib(size_t bytes) {
    constexpr u64 kStep = u64{1} << 20;
    for (u64 start = (u64{4} << 30) - (bytes + kStep - 1) / kStep * kStep; start >= kStep; start -= kStep) {
        void *wanted = reinterpret_cast<void *>(start);
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
        void *mapped = mmap(wanted, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
        if (mapped == wanted) {
            return start;
        }
        if (mapped != MAP_FAILED) {  // a Linux kernel before 4.17 may map another address
            munmap(mapped, bytes);
        }
    }
    throw Error("cannot map shared memory below 4 GiB");
}

}  // namespace

Range last_range = kNoRange;

u64 shared_base() {
    static const u64 base = map_below_4_gib(kSharedWindow);
    return base;
}

u64 parameter_base() {
    static const u64 base = map_below_4_gib(kLargestParameters + 4096);
    return base;
}

u64 allocate(size_t bytes, int fill) {
    const size_t padded = (bytes + 511) / 256 * 256;
    void *allocated = std::aligned_alloc(256, padded);
    if (!allocated) {
        return 0;
    }
    std::memset(allocated, fill, padded);
    const u64 address = reinterpret_cast<u64>(allocated);
    allocation_sizes[address] = bytes;
    total_bytes += bytes;
    add_range(address, bytes);
    return address;
}

bool free(u64 address) {
    const auto found = allocation_sizes.find(address);
    if (found == allocation_sizes.end()) {
        return false;
    }
    total_bytes -= found->second;
    allocation_sizes.erase(found);
    remove_range(address);
    std::free(reinterpret_cast<void *>(address));
    return true;
}

bool find_allocation(u64 address, Range &allocation) {
    auto found = allocation_sizes.upper_bound(address);
    if (found == allocation_sizes.begin()) {
        return false;
    }
    --found;
    allocation = {found->first, found->first + found->second};
    return address < std::max(allocation.end, allocation.start + 1);
}

u64 allocated_bytes() {
    return total_bytes;
}

void add_range(u64 start, u64 bytes) {
    range_ends[start] = start + bytes;
    last_range = kNoRange;
}

void remove_range(u64 start) {
    range_ends.erase(start);
    last_range = kNoRange;
}

void enable_checks() {
    checking = true;
}
bool checks_enabled() {
    return checking;
}

bool find_range(u64 address, u32 bytes, u64 &start) {
    auto found = range_ends.upper_bound(address);
    if (found == range_ends.begin()) {
        return false;
    }
    --found;
    if (address + bytes > found->second) {
        return false;
    }
    last_range = {found->first, found->second};
    start = found->first;
    return true;
}

}  // namespace cuda_emulator::memory
