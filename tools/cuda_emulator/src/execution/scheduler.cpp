#include "execution/scheduler.h"

#include <algorithm>
#include <climits>

#include "execution/synchronise.h"

namespace cuda_emulator {

u64 issued_instructions = 0;

namespace {

/// The lanes at the lowest program counter, and the lowest program counter of all others.
struct Group {
    u32 lanes = 0;
    int pc = INT_MAX, others = INT_MAX;
};

Group lowest_group(const Warp &warp) {
    Group group;
    for_lanes(warp.runnable, [&](int lane) { group.pc = std::min(group.pc, warp.pc[lane]); });
    for_lanes(warp.runnable, [&](int lane) {
        if (warp.pc[lane] == group.pc) {
            group.lanes |= lane_bit(lane);
        } else {
            group.others = std::min(group.others, warp.pc[lane]);
        }
    });
    return group;
}

void set_pc(Warp &warp, u32 lanes, int pc) {
    for_lanes(lanes, [&](int lane) { warp.pc[lane] = pc; });
}

void exit_lanes(Block &block, Warp &warp, u32 lanes) {
    warp.live &= ~lanes;
    warp.runnable &= ~lanes;
    block.live -= count_lanes(lanes);
    release_barriers(block);
}

/// The lanes whose guard predicate lets them execute.
inline u32 guarded(Warp &warp, const Instruction &instruction, u32 lanes) {
    if (instruction.guard < 0) {
        return lanes;
    }
    const u64 *predicate = warp.row(instruction.guard);
    u32 mask = 0;
    for (int lane = 0; lane < kWarp; lane++) {
        mask |= static_cast<u32>(predicate[lane] != 0) << lane;
    }
    return lanes & (instruction.guard_negated ? ~mask : mask);
}

void jump_by_table(Execution &x) {
    const Instruction &instruction = *x.instruction;
    Warp &warp = x.warp;
    const u64 *index = x.source(0);
    bool divergent = false;
    x.each([&](int lane) {
        const u32 which = static_cast<u32>(index[lane]);
        if (which >= instruction.targets.size()) {
            x.fault(lane, "brx.idx index out of range");
        }
        warp.pc[lane] = instruction.targets[which];
        divergent |= warp.pc[lane] != warp.pc[x.first_lane()];
    });
    if (x.block.statistics) {
        x.block.statistics->branches++;
        x.block.statistics->divergent_branches += divergent;
    }
}

/// Runs an instruction that may split the group, for the active lanes; true if the whole group goes on to the next one.
bool run_control(Execution &x, u32 group, int pc) {
    set_pc(x.warp, group, pc + 1);
    switch (x.instruction->control) {
        case Control::kBranchTable:
            jump_by_table(x);
            return false;
        case Control::kExit:
            exit_lanes(x.block, x.warp, x.active);
            return false;
        case Control::kBarrier:
            arrive_at_barrier(x, x.active);
            return false;
        default:
            return arrive_at_warp_sync(x, group, x.active, pc);
    }
}

/// Runs a group as long as it is not split and its program counter is below that of all other lanes.
void run_group(Execution &x, const Group &group, int &budget) {
    Warp &warp = x.warp;
    KernelStatistics *const statistics = x.block.statistics;
    const Instruction *const code = x.block.function->code.data();
    const int stop = std::min(group.others, static_cast<int>(x.block.function->code.size()));
    const u32 lanes = group.lanes;
    int pc = group.pc;
    do {
        const Instruction &instruction = code[pc];
        const u32 executing = guarded(warp, instruction, lanes);
        issued_instructions++;
        if (statistics) {
            statistics->warp_instructions++;
            warp.issued++;
            statistics->thread_instructions += count_lanes(executing);
            statistics->by_class[instruction.statistics_class] += count_lanes(executing);
        }
        if (instruction.control == Control::kNone) {
            if (executing) {
                x.start(instruction, executing);
                instruction.run(x);
            }
            pc++;
        } else if (instruction.control == Control::kBranch) {
            const bool divergent = executing && executing != lanes;
            if (statistics) {
                statistics->branches++;
                statistics->divergent_branches += divergent;
            }
            if (divergent) {
                set_pc(warp, lanes & ~executing, pc + 1);
                set_pc(warp, executing, instruction.target);
                return;
            }
            pc = executing ? instruction.target : pc + 1;
        } else {
            if (executing) {
                x.start(instruction, executing);
                if (!run_control(x, lanes, pc)) {
                    return;
                }
            }
            pc++;
        }
    } while (pc < stop && --budget >= 0);
    set_pc(warp, lanes, pc);
}

}  // namespace

bool run_warp(Block &block, Warp &warp, int budget) {
    const int end = static_cast<int>(block.function->code.size());
    bool any = false;
    Execution x(block, warp);
    while (warp.runnable && budget-- > 0) {
        any = true;
        const Group group = lowest_group(warp);
        if (group.pc >= end) {
            exit_lanes(block, warp, group.lanes);
        } else {
            run_group(x, group, budget);
        }
    }
    return any;
}

}  // namespace cuda_emulator
