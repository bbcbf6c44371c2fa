#pragma once
#include <map>
#include <vector>

#include "execution/visibility.h"
#include "ptx/module.h"
#include "statistics/statistics.h"

namespace cuda_emulator {

constexpr int kWarp = 32;
constexpr u32 kFullMask = 0xffffffff;

inline u32 lane_bit(int lane) {
    return u32(1) << lane;
}
inline int lowest_lane(u32 mask) {
    return __builtin_ctz(mask);
}
inline int count_lanes(u32 mask) {
    return __builtin_popcount(mask);
}

template <class Function>
inline void for_lanes(u32 mask, Function function) {
    if (mask == kFullMask) {  // a loop that the compiler can vectorise
        for (int lane = 0; lane < kWarp; lane++) {
            function(lane);
        }
    } else {
        for (; mask; mask &= mask - 1) {
            function(lowest_lane(mask));
        }
    }
}

/// How barrier.red combines the lanes' predicates.
enum class Reduction { kNone, kCount, kAnd, kOr };

struct Warp {
    int index = 0;
    std::vector<u64> registers;  ///< by row, then lane
    std::vector<u8> local;       ///< local memory, lane after lane
    u32 live = 0, runnable = 0;  ///< lane masks, as are the next two
    u32 at_barrier = 0, at_warp_sync = 0;
    u32 carry = 0;                         ///< each lane's condition code
    u32 observed = 0;                      ///< has read what another block may have published (visibility.h)
    u32 fresh = 0;                         ///< and has fenced behind it
    u32 waited = 0;                        ///< for the kernel before: griddepcontrol.wait
    u64 barriers = 0;                      ///< __syncwarp
    u64 issued = 0;                        ///< instructions; this and the next two only for statistics
    u64 global_load = 0, shared_load = 0;  ///< `issued` at the last load, 0 if there was none
    int pc[kWarp];                         ///< index of the next instruction
    int sync_pc[kWarp];                    ///< where a lane waits for other lanes of its warp
    u32 sync_mask[kWarp];                  ///< the lanes that it waits for
    int barrier[kWarp];                    ///< the barrier at which it waits for other warps
    int reduction_row[kWarp];              ///< register for the barrier's result, or -1
    Reduction reduction[kWarp];
    u64 thread_index[3][kWarp];

    u64 *row(int reg) { return &registers[static_cast<size_t>(reg) * kWarp]; }
};

struct Barrier {
    u32 expected = 0;  ///< threads, 0 for all of the block
    u32 arrived = 0;
    u32 reduced = 0, reduced_true = 0;   ///< threads that gave a predicate, and a true one
    bool fresh = false, waited = false;  ///< whether a thread that arrived is
};

/// The last accesses to each word of shared memory: (epoch << 12 | 1 + number of the warp or thread). The lowest 12
/// bits are all set for reads by several.
struct RaceTags {
    std::vector<u64> written, read;
};

struct Block {
    Module *module;
    Function *function;
    u32 index[3], size[3], grid[3];
    u32 threads, shared_bytes, dynamic_shared, live;
    std::vector<Warp> warps;
    std::map<int, Barrier> barriers;
    u64 uniform[9][kWarp];             ///< size, index and grid, for each lane
    u64 epoch = 1;                     ///< incremented at each barrier
    u64 warp_epoch = 1;                ///< incremented at each barrier and at each __syncwarp of any warp
    RaceTags warp_tags, thread_tags;   ///< empty if race detection is off
    Visibility *visibility = nullptr;  ///< null: all stores are visible at once
    bool chained = false;              ///< accesses are noted in `dependence`
    KernelStatistics *statistics = nullptr;
    std::vector<u64> loaded, used;  ///< sectors that the block loads; that the launch loads or stores
};

}  // namespace cuda_emulator
