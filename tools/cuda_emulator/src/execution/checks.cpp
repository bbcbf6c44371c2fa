#include "execution/execution.h"

// The checks at each memory access. Add new kinds of checks here.

namespace cuda_emulator {

/// An address outside of shared, parameter and global memory is in the lane's local memory, or a fault.
void Execution::check_local(u64 address, u32 bytes, int lane) {
    const u64 base = reinterpret_cast<u64>(warp.local.data());
    if (memory::Range{base, base + warp.local.size()}.contains(address, bytes)) {
        const u64 frame = base + static_cast<u64>(lane) * block.function->local_bytes;
        if (!memory::Range{frame, frame + block.function->local_bytes}.contains(address, bytes)) {
            address_fault(lane, "out-of-bounds local", address);
        }
        return;
    }
    constexpr u64 kLowestPointer = 65536, kHighestPointer = u64(1) << 47;
    const bool plausible = address >= kLowestPointer && address < kHighestPointer;
    if (memory::is_shared(address)) {
        address_fault(lane, "out-of-bounds shared", address);
    }
    if (memory::checks_enabled() || !plausible) {
        address_fault(lane, "out-of-bounds", address);
    }
}

/// A race: two warps accessed the same word since the last barrier, at least one of them with a store.
void Execution::check_race_tags(u64 address, u32 bytes, int lane, bool store) {
    constexpr u32 kSeveralWarps = 63;
    const u64 base = shared_.start;
    if (address < base || address >= shared_.end) {
        return;
    }
    const u32 epoch = block.epoch << 6, mine = epoch | (warp.index + 1);
    const auto of_another = [&](u32 tag) { return tag > epoch && tag != mine; };
    for (u64 word = (address - base) / 4; word <= (address - base + bytes - 1) / 4; word++) {
        u32 &written = block.race_tags.written[word], &read = block.race_tags.read[word];
        if (of_another(written)) {
            address_fault(lane,
                          store ? "shared-memory race (write/write, no barrier)"
                                : "shared-memory race (read after write, no barrier)",
                          address);
        }
        if (store) {
            if (of_another(read)) {
                address_fault(lane, "shared-memory race (write after read, no barrier)", address);
            }
            written = mine;
        } else {
            read = of_another(read) ? epoch | kSeveralWarps : mine;
        }
    }
}

}  // namespace cuda_emulator
