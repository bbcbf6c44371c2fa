#include "execution/synchronise.h"

namespace cuda_emulator {
namespace {

u64 reduced(const Barrier &barrier, Reduction reduction) {
    switch (reduction) {
        case Reduction::kCount:
            return barrier.reduced_true;
        case Reduction::kAnd:
            return barrier.reduced_true == barrier.reduced;
        default:
            return barrier.reduced_true > 0;
    }
}

void release(Block &block, int name, const Barrier &barrier) {
    for (Warp &warp : block.warps) {
        u32 released = 0;
        for_lanes(warp.at_barrier, [&](int lane) {
            if (warp.barrier[lane] != name) {
                return;
            }
            released |= lane_bit(lane);
            warp.fresh |= barrier.fresh ? lane_bit(lane) : 0;
            warp.waited |= barrier.waited ? lane_bit(lane) : 0;
            if (warp.reduction_row[lane] >= 0) {
                warp.row(warp.reduction_row[lane])[lane] = reduced(barrier, warp.reduction[lane]);
            }
        });
        warp.at_barrier &= ~released;
        warp.runnable |= released;
    }
}

/// Whether every lane of the mask waits at this instruction with the same mask.
bool all_wait(const Warp &warp, u32 mask, int pc) {
    bool all = (warp.at_warp_sync & mask) == mask;
    for_lanes(mask, [&](int lane) { all = all && warp.sync_mask[lane] == mask && warp.sync_pc[lane] == pc; });
    return all;
}

}  // namespace

void release_barriers(Block &block) {
    for (auto &[name, barrier] : block.barriers) {
        if (barrier.arrived == 0) {
            continue;
        }
        u32 needed = barrier.expected;
        if (needed == 0) {
            for (const Warp &warp : block.warps) {
                needed += count_lanes(warp.live);
            }
        }
        if (barrier.arrived >= needed) {
            release(block, name, barrier);
            barrier = Barrier();
            block.epoch++;
            block.warp_epoch++;
        }
    }
}

// barrier.sync a{, b}; barrier.arrive a, b; barrier.red.op d, a{, b}, p
void arrive_at_barrier(Execution &x, u32 lanes) {
    const Instruction &instruction = *x.instruction;
    Warp &warp = x.warp;
    const bool waits = !instruction.has("arrive"), reduces = instruction.has("red");
    const int operands = static_cast<int>(instruction.operands.size()), first = reduces ? 1 : 0;
    const bool has_count = operands > (reduces ? 3 : 1);
    const u64 *names = x.source(first);
    const u32 count = has_count ? static_cast<u32>(x.source(first + 1)[lowest_lane(lanes)]) : 0;
    const u64 *predicate = reduces ? x.source(operands - 1, kPredicate) : nullptr;
    Reduction reduction = Reduction::kNone;
    if (reduces) {
        reduction = instruction.has("popc")  ? Reduction::kCount
                    : instruction.has("and") ? Reduction::kAnd
                                             : Reduction::kOr;
    }
    if (x.block.statistics) {
        x.block.statistics->barriers++;
    }
    for_lanes(lanes, [&](int lane) {
        const int name = static_cast<int>(names[lane]);
        Barrier &barrier = x.block.barriers[name];
        barrier.expected = count;
        barrier.arrived++;
        barrier.fresh |= (warp.fresh & lane_bit(lane)) != 0;
        barrier.waited |= (warp.waited & lane_bit(lane)) != 0;
        warp.barrier[lane] = name;
        warp.reduction[lane] = reduction;
        warp.reduction_row[lane] = reduces ? instruction.operands[0].reg : -1;
        if (reduces) {
            barrier.reduced++;
            barrier.reduced_true += predicate[lane] != 0;
        }
        if (waits) {
            warp.at_barrier |= lane_bit(lane);
            warp.runnable &= ~lane_bit(lane);
        }
    });
    release_barriers(x.block);
}

bool arrive_at_warp_sync(Execution &x, u32 group, u32 lanes, int pc) {
    const Instruction &instruction = *x.instruction;
    Warp &warp = x.warp;
    const bool full = instruction.control == Control::kFullWarpSync;
    const u64 *masks = full ? nullptr : x.source(static_cast<int>(instruction.operands.size()) - 1);
    for_lanes(lanes, [&](int lane) {
        const u32 needed = full ? kFullMask : static_cast<u32>(masks[lane]);
        if (!(needed & lane_bit(lane))) {
            x.fault(lane, "lane is not in its own member mask");
        }
        if (needed & ~warp.live) {
            x.fault(lane, "warp operation names lanes that have exited or do not exist");
        }
        warp.sync_mask[lane] = needed;
        warp.sync_pc[lane] = pc;
        warp.at_warp_sync |= lane_bit(lane);
        warp.runnable &= ~lane_bit(lane);
    });
    for (u32 rest = lanes; rest; rest &= rest - 1) {
        const int lane = lowest_lane(rest);
        const u32 mask = warp.sync_mask[lane];
        if (!(warp.at_warp_sync & lane_bit(lane)) || !all_wait(warp, mask, pc)) {
            continue;
        }
        x.active = mask;
        instruction.run(x);
        if (instruction.has("warp")) {  // bar.warp.sync: of the warp operations, it alone orders accesses to memory
            x.block.warp_epoch++;
            warp.barriers++;
            warp.fresh |= warp.fresh & mask ? mask : 0;
            warp.waited |= warp.waited & mask ? mask : 0;
        }
        if (x.block.statistics) {
            x.block.statistics->warp_syncs++;
        }
        warp.at_warp_sync &= ~mask;
        warp.runnable |= mask;
        if (mask == group && mask == lanes) {
            return true;
        }
    }
    return false;
}

}  // namespace cuda_emulator
