#include <algorithm>

#include "execution/execution.h"

namespace cuda_emulator {
namespace {

constexpr int kBanks = 32, kBankBytes = 4, kSectorBytes = 32;

/// Sorts values and removes duplicates; returns their number.
size_t distinct(u64 *values, size_t count) {
    std::sort(values, values + count);
    return std::unique(values, values + count) - values;
}

/// An access of 8 bytes is served in two half warps, one of 16 bytes in four quarter warps. Each part takes as many
/// wavefronts as its busiest bank has different words.
void count_shared(SharedTraffic &traffic, const u64 *addresses, u32 bytes, u32 lanes) {
    traffic.requests++;
    traffic.bytes += static_cast<u64>(count_lanes(lanes)) * bytes;
    const int parts = bytes <= 4 ? 1 : bytes == 8 ? 2 : 4, part_lanes = kWarp / parts;
    for (int part = 0; part < parts; part++) {
        std::vector<u64> words;
        for (int lane = part * part_lanes; lane < (part + 1) * part_lanes; lane++) {
            if (lanes & lane_bit(lane)) {
                const u64 last = (addresses[lane] + bytes - 1) / kBankBytes;
                for (u64 word = addresses[lane] / kBankBytes; word <= last; word++) {
                    words.push_back(word);
                }
            }
        }
        if (words.empty()) {
            continue;
        }
        words.resize(distinct(words.data(), words.size()));
        int in_bank[kBanks] = {}, most = 0;
        for (u64 word : words) {
            most = std::max(most, ++in_bank[word % kBanks]);
        }
        traffic.wavefronts += most;
        traffic.conflicts += most - 1;
    }
}

/// Sectors are counted from the start of the allocation, so that their number does not depend on the host's address.
/// They are appended to `used`.
void count_sectors(Traffic &traffic, const u64 *addresses, u32 bytes, u32 lanes, std::vector<u64> *used = nullptr) {
    constexpr size_t kMost = 160;
    traffic.requests++;
    traffic.bytes += static_cast<u64>(count_lanes(lanes)) * bytes;
    u64 sectors[kMost];
    size_t count = 0;
    for_lanes(lanes, [&](int lane) {
        u64 start;
        if (!memory::in_range(addresses[lane], bytes, start)) {
            start = 0;
        }
        const u64 offset = addresses[lane] - start, last = (offset + bytes - 1) / kSectorBytes;
        for (u64 sector = offset / kSectorBytes; sector <= last && count < kMost; sector++) {
            sectors[count++] = start + sector * kSectorBytes;
        }
    });
    count = distinct(sectors, count);
    traffic.sectors += count;
    if (used) {
        used->insert(used->end(), sectors, sectors + count);
    }
}

/// Counts a new group unless the warp's last load was a few instructions ago: ptxas moves such loads together.
void count_group(u64 &groups, u64 now, u64 &last_load) {
    constexpr u64 kNear = 16;
    groups += last_load == 0 || now - last_load > kNear;
    last_load = now;
}

}  // namespace

void Execution::count_traffic(const u64 *addresses, u32 bytes, bool store) {
    if (instruction->space == Space::kConstant) {
        return;  // served by the constant cache
    }
    KernelStatistics &statistics = *block.statistics;
    u32 shared = 0, local = 0, global = 0;
    each([&](int lane) {
        const u64 address = addresses[lane];
        if (memory::is_shared(address)) {
            shared |= lane_bit(lane);
        } else if (is_local(address)) {
            local |= lane_bit(lane);
        } else if (!memory::is_parameter(address)) {
            global |= lane_bit(lane);
        }
    });
    if (shared) {
        if (!store) {
            count_group(statistics.shared_load_groups, warp.issued, warp.shared_load);
        }
        count_shared(store ? statistics.shared_store : statistics.shared_load, addresses, bytes, shared);
    }
    if (global) {
        if (!store) {
            count_group(statistics.global_load_groups, warp.issued, warp.global_load);
        }
        count_sectors(store ? statistics.global_store : statistics.global_load, addresses, bytes, global,
                      store ? &block.used : &block.loaded);
    }
    if (local && !instruction->is_call_argument) {
        count_sectors(store ? statistics.local_store : statistics.local_load, addresses, bytes, local);
    }
}

void Execution::count_atomics(const u64 *addresses) {
    if (!block.statistics) {
        return;
    }
    u64 shared[kWarp], global[kWarp];
    size_t shared_count = 0, global_count = 0;
    each([&](int lane) {
        if (memory::is_shared(addresses[lane])) {
            shared[shared_count++] = addresses[lane];
        } else {
            global[global_count++] = addresses[lane];
        }
    });
    const auto add = [](Atomics &atomics, u64 *values, size_t count) {
        atomics.count += count;
        atomics.repeated += count - distinct(values, count);
    };
    add(block.statistics->shared_atomics, shared, shared_count);
    add(block.statistics->global_atomics, global, global_count);
}

}  // namespace cuda_emulator
