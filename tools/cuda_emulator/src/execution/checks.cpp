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

namespace {

enum class Race { kNone, kReadAfterWrite, kWriteAfterRead, kWriteAfterWrite };

/// Whether the access of a warp or thread races with an earlier one of this epoch, by another. Notes the access.
Race note_access(RaceTags &tags, u64 word, u64 epoch, u64 number, bool store) {
    constexpr u64 kSeveral = 0xfff;
    const u64 first = epoch << 12, mine = first | (number + 1);
    u64 &written = tags.written[word], &read = tags.read[word];
    const bool was_written = written > first && written != mine, was_read = read > first && read != mine;
    if (store) {
        written = mine;
        return was_written ? Race::kWriteAfterWrite : was_read ? Race::kWriteAfterRead : Race::kNone;
    }
    read = was_read ? first | kSeveral : mine;
    return was_written ? Race::kReadAfterWrite : Race::kNone;
}

const char *message_of(Race race, bool within_warp) {
    switch (race) {
        case Race::kReadAfterWrite:
            return within_warp ? "shared-memory race within a warp (read after write, no __syncwarp)"
                               : "shared-memory race (read after write, no barrier)";
        case Race::kWriteAfterRead:
            return within_warp ? "shared-memory race within a warp (write after read, no __syncwarp)"
                               : "shared-memory race (write after read, no barrier)";
        default:
            return "shared-memory race (write/write, no barrier)";
    }
}

}  // namespace

/// A race: two warps accessed the same word since the last barrier, at least one of them with a store; or one lane of a
/// warp read and another wrote it since the last __syncwarp.
void Execution::check_race_tags(u64 address, u32 bytes, int lane, bool store) {
    if (address < shared_.start || address >= shared_.end) {
        return;
    }
    const u64 first = (address - shared_.start) / 4, last = (address - shared_.start + bytes - 1) / 4;
    for (u64 word = first; word <= last; word++) {
        Race race = note_access(block.warp_tags, word, block.epoch, warp.index, store);
        if (race != Race::kNone) {
            address_fault(lane, message_of(race, false), address);
        }
        if (bytes < 4) {
            continue;  // another lane may have the rest of the word
        }
        race = note_access(block.thread_tags, word, block.warp_epoch, warp.index * kWarp + lane, store);
        if (race == Race::kReadAfterWrite || race == Race::kWriteAfterRead) {  // lanes may write the same value
            address_fault(lane, message_of(race, true), address);
        }
    }
}

/// Before a thread of a dependent launch has waited, it must not touch what earlier kernels of the chain may still use.
void Execution::check_chain(u64 address, u32 bytes, int lane, bool store) {
    const bool early = dependence.is_dependent() && !(warp.waited & lane_bit(lane));
    if (early && dependence.conflicts(address, bytes, store)) {
        address_fault(lane,
                      store ? "dependent launch: store before griddepcontrol.wait to what an earlier kernel uses,"
                            : "dependent launch: load before griddepcontrol.wait of what an earlier kernel writes,",
                      address);
    }
    dependence.note(address, bytes, store);
}

}  // namespace cuda_emulator
