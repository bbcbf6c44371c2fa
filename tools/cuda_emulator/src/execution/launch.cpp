#include <algorithm>
#include <cstdlib>

#include "execution/execution.h"
#include "execution/scheduler.h"

namespace cuda_emulator {
namespace {

// The pattern of uninitialised memory and registers, so that their use is likely to be noticed.
constexpr int kUnsetByte = 0xcd;
constexpr u64 kUnsetRegister = 0xbadbadbadbadbad;

constexpr u32 kLargestBlock = 1024;

u64 instruction_limit() {
    const char *limit = std::getenv("CUDA_EMULATOR_MAX_INST");
    return limit ? std::strtoull(limit, nullptr, 10) : 200000000;
}

bool looks_for_races() {
    const char *variable = std::getenv("CUDA_EMULATOR_RACE");
    return variable && *variable && std::string(variable) != "0";
}

void start_warp(const Block &block, Warp &warp, u32 index) {
    warp.index = index;
    warp.registers.assign(static_cast<size_t>(std::max(1, block.function->registers)) * kWarp, kUnsetRegister);
    warp.local.assign(static_cast<size_t>(block.function->local_bytes) * kWarp + 16, kUnsetByte);
    const u32 lanes = std::min<u32>(kWarp, block.threads - index * kWarp);
    warp.live = warp.runnable = lanes == kWarp ? kFullMask : lane_bit(lanes) - 1;
    warp.at_barrier = warp.at_warp_sync = warp.carry = 0;
    warp.observed = warp.fresh = warp.waited = 0;
    warp.barriers = 0;
    warp.issued = warp.global_load = warp.shared_load = 0;
    for (int lane = 0; lane < kWarp; lane++) {
        const u32 thread = index * kWarp + lane;
        warp.pc[lane] = 0;
        warp.thread_index[0][lane] = thread % block.size[0];
        warp.thread_index[1][lane] = thread / block.size[0] % block.size[1];
        warp.thread_index[2][lane] = thread / block.size[0] / block.size[1];
    }
}

void start_block(Block &block, bool races) {
    std::memset(reinterpret_cast<void *>(memory::shared_base()), kUnsetByte, block.shared_bytes);
    block.barriers.clear();
    block.epoch = block.warp_epoch = 1;
    block.live = block.threads;
    if (block.visibility) {
        block.visibility->start_block();
    }
    if (races) {
        const size_t words = block.shared_bytes / 4 + 2;
        for (RaceTags *tags : {&block.warp_tags, &block.thread_tags}) {
            tags->written.assign(words, 0);
            tags->read.assign(words, 0);
        }
    }
    for (int axis = 0; axis < 3; axis++) {
        std::fill_n(block.uniform[axis], kWarp, block.size[axis]);
        std::fill_n(block.uniform[3 + axis], kWarp, block.index[axis]);
        std::fill_n(block.uniform[6 + axis], kWarp, block.grid[axis]);
    }
    for (size_t i = 0; i < block.warps.size(); i++) {
        start_warp(block, block.warps[i], static_cast<u32>(i));
    }
}

[[noreturn]] void report_deadlock(const Block &block) {
    const std::string text = "deadlock (divergent barrier or incomplete warp mask): ";
    for (const Warp &warp : block.warps) {
        const u32 waiting = warp.live & (warp.at_barrier | warp.at_warp_sync);
        if (waiting) {
            const int lane = lowest_lane(waiting);
            const Instruction &instruction = block.function->code[std::max(0, warp.pc[lane] - 1)];
            throw Error(text + lane_position(block, warp, lane) + " waits, " +
                        position(*block.module, *block.function, instruction));
        }
    }
    throw Error(text + "kernel '" + block.function->name + "'");
}

void run_block(Block &block, u64 limit) {
    constexpr int kSlice = 20000;  // instructions of a warp before it is the next warp's turn
    const u64 start = issued_instructions;
    while (block.live) {
        if (issued_instructions - start > limit) {
            throw Error("kernel '" + block.function->name +
                        "': a block ran over CUDA_EMULATOR_MAX_INST warp instructions (infinite loop, or a wait for "
                        "another block: blocks run one after another)");
        }
        bool any = false;
        for (Warp &warp : block.warps) {
            any |= run_warp(block, warp, kSlice);
        }
        if (!any && block.live) {
            report_deadlock(block);
        }
    }
}

void count_launch(Block &block, const std::string &name, u64 blocks) {
    KernelStatistics &statistics = statistics::of_kernel(name);
    block.statistics = &statistics;
    statistics.launches++;
    statistics.blocks += blocks;
    statistics.threads += blocks * block.threads;
    statistics.shared_bytes = std::max(statistics.shared_bytes, block.shared_bytes);
    statistics.local_bytes = block.function->local_bytes;
    if (statistics::tracing()) {
        statistics::trace(name, block.grid, block.size, block.dynamic_shared);
    }
}

void keep_distinct(std::vector<u64> &values) {
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
}

/// Counts what is known at the end of a block; returns the instructions of its busiest warp.
u64 count_block(Block &block) {
    keep_distinct(block.loaded);
    block.statistics->block_sectors += block.loaded.size();
    block.used.insert(block.used.end(), block.loaded.begin(), block.loaded.end());
    block.loaded.clear();
    u64 busiest = 0;
    for (const Warp &warp : block.warps) {
        busiest = std::max(busiest, warp.issued);
    }
    block.statistics->busiest_warps += busiest;
    return busiest;
}

}  // namespace

void launch(Module &module, const std::string &name, const u32 grid[3], const u32 size[3], const u8 *parameters,
            u32 dynamic_shared, LaunchOrder order) {
    const auto found = module.functions.find(name);
    if (found == module.functions.end()) {
        throw Error("no kernel " + name);
    }
    Function &function = found->second;
    link(module, function);
    const u32 shared_bytes = function.shared_bytes + dynamic_shared;
    if (shared_bytes > memory::kLargestShared) {
        throw Error("shared memory over 227 KiB: " + std::to_string(shared_bytes));
    }
    const u64 threads = static_cast<u64>(size[0]) * size[1] * size[2];
    if (threads > kLargestBlock || threads == 0) {
        throw Error("block of " + std::to_string(threads) + " threads");
    }
    if (function.parameter_bytes > memory::kLargestParameters) {
        throw Error("kernel parameters too large");
    }
    std::memcpy(reinterpret_cast<void *>(memory::parameter_base()), parameters, function.parameter_bytes);

    Block block;
    block.module = &module;
    block.function = &function;
    block.threads = static_cast<u32>(threads);
    block.shared_bytes = shared_bytes;
    block.dynamic_shared = dynamic_shared;
    std::copy_n(size, 3, block.size);
    std::copy_n(grid, 3, block.grid);
    block.warps.resize((threads + kWarp - 1) / kWarp);
    const u64 blocks = static_cast<u64>(grid[0]) * grid[1] * grid[2];
    if (statistics::enabled()) {
        count_launch(block, name, blocks);
    }
    const u64 limit = instruction_limit();
    const bool races = looks_for_races();
    Visibility visibility;
    if (races) {
        block.visibility = &visibility;
        block.chained = order != LaunchOrder::kUnchained;
        dependence.start_launch(order);
    }
    u64 busiest = 0;
    for (u64 i = 0; i < blocks; i++) {
        block.index[0] = static_cast<u32>(i % grid[0]);
        block.index[1] = static_cast<u32>(i / grid[0] % grid[1]);
        block.index[2] = static_cast<u32>(i / grid[0] / grid[1]);
        start_block(block, races);
        run_block(block, limit);
        if (block.statistics) {
            busiest = std::max(busiest, count_block(block));
        }
    }
    if (block.chained) {
        if (dependence.is_dependent() && !dependence.waited) {
            throw Error(
                "dependent launch: no thread of kernel '" + function.name +
                "' executed griddepcontrol.wait, so kernels after it may start before those before it have ended");
        }
        dependence.end_launch();
    }
    if (block.statistics) {
        keep_distinct(block.used);
        block.statistics->launch_sectors += block.used.size();
        block.statistics->busiest_warp += busiest;
    }
}

}  // namespace cuda_emulator
