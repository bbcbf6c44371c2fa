#include "runtime/pageable_copies.h"

#include <algorithm>
#include <deque>
#include <vector>

namespace cuda_emulator::runtime {
namespace {

struct StagedCopy {
    u8 *to;
    std::vector<u8> bytes;
};

std::deque<StagedCopy> waiting;
u64 landed = 0;

}  // namespace

void stage_copy(void *to, const void *from, size_t bytes) {
    const u8 *first = static_cast<const u8 *>(from);
    waiting.push_back({static_cast<u8 *>(to), std::vector<u8>(first, first + bytes)});
}

u64 staged_copies() {
    return landed + waiting.size();
}

void land_copies(u64 count) {
    for (; !waiting.empty() && landed < count; landed++) {
        const StagedCopy &copy = waiting.front();
        std::copy(copy.bytes.begin(), copy.bytes.end(), copy.to);
        waiting.pop_front();
    }
}

void drop_copies(u64 start, u64 end) {
    for (StagedCopy &copy : waiting) {
        const u64 to = reinterpret_cast<u64>(copy.to);
        if (to >= start && to < end) {
            copy.bytes.clear();
        }
    }
}

}  // namespace cuda_emulator::runtime
