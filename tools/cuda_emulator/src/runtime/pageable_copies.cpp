#include "runtime/pageable_copies.h"

#include <cstring>
#include <deque>
#include <vector>

namespace cuda_emulator::runtime {
namespace {

struct StagedCopy {
    void *to;
    std::vector<u8> bytes;
};

std::deque<StagedCopy> waiting;
u64 landed = 0;

}  // namespace

void stage_copy(void *to, const void *from, size_t bytes) {
    const u8 *first = static_cast<const u8 *>(from);
    waiting.push_back({to, std::vector<u8>(first, first + bytes)});
}

u64 staged_copies() {
    return landed + waiting.size();
}

void land_copies(u64 count) {
    for (; !waiting.empty() && landed < count; landed++) {
        const StagedCopy &copy = waiting.front();
        std::memcpy(copy.to, copy.bytes.data(), copy.bytes.size());
        waiting.pop_front();
    }
}

}  // namespace cuda_emulator::runtime
