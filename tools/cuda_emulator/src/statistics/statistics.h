#pragma once
#include <map>
#include <string>

#include "ptx/instruction.h"

namespace cuda_emulator {

/// Of global or local memory. A request is what one warp asks for at once.
struct Traffic {
    u64 requests = 0, bytes = 0, sectors = 0;
};

struct SharedTraffic {
    u64 requests = 0, bytes = 0, wavefronts = 0, conflicts = 0;
};

/// Thread by thread; `repeated` counts the steps that lanes of one warp on the same address take more.
struct Atomics {
    u64 count = 0, repeated = 0;
};

struct KernelStatistics {
    u64 launches = 0, blocks = 0, threads = 0;
    u64 warp_instructions = 0, thread_instructions = 0;
    u64 branches = 0, divergent_branches = 0;
    u64 by_class[kInstructionClasses] = {};  ///< thread instructions
    Traffic global_load, global_store, local_load, local_store;
    SharedTraffic shared_load, shared_store;
    Atomics global_atomics, shared_atomics;
    u64 barriers = 0;    ///< arrivals of warps
    u64 warp_syncs = 0;  ///< shuffles, votes and the like
    u64 mma_instructions = 0, mma_flops = 0;
    u32 shared_bytes = 0;  ///< of the largest block
    u32 local_bytes = 0;   ///< of a thread
};

/// What CUDA_EMULATOR_STATS asks for.
namespace statistics {

bool enabled();
bool tracing();
KernelStatistics &of_kernel(const std::string &name);
const std::map<std::string, KernelStatistics> &all();
void trace(const std::string &name, const u32 grid[3], const u32 block[3], u32 dynamic_shared);
/// Writes what was counted; once for each time that something was. Also runs at exit.
void report();
void reset();

std::string json(const std::map<std::string, KernelStatistics> &kernels);
void print_table(const std::map<std::string, KernelStatistics> &kernels);

}  // namespace statistics
}  // namespace cuda_emulator
