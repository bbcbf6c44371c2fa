#pragma once
#include <map>
#include <string>

#include "ptx/instruction.h"

namespace cuda_emulator {

/// Traffic of global or local memory. A request is one access of a warp.
struct Traffic {
    u64 requests = 0, bytes = 0, sectors = 0;
};

struct SharedTraffic {
    u64 requests = 0, bytes = 0, wavefronts = 0, conflicts = 0;
};

/// Counted per thread; `repeated` counts the additional steps of lanes of one warp that use the same address.
struct Atomics {
    u64 count = 0, repeated = 0;
};

struct KernelStatistics {
    u64 launches = 0, blocks = 0, threads = 0;
    u64 warp_instructions = 0, thread_instructions = 0;
    u64 busiest_warps = 0;  ///< instructions of each block's warp with the most, added up
    u64 busiest_warp = 0;   ///< instructions of each launch's warp with the most, added up
    u64 branches = 0, divergent_branches = 0;
    u64 by_class[kInstructionClasses] = {};  ///< thread instructions
    Traffic global_load, global_store, local_load, local_store;
    u64 global_load_groups = 0, shared_load_groups = 0;  ///< loads of a warp that hardly anything lies between
    u64 block_sectors = 0;   ///< different sectors of global memory that each block loads, added up
    u64 launch_sectors = 0;  ///< different sectors of global memory that each launch loads or stores, added up
    SharedTraffic shared_load, shared_store;
    Atomics global_atomics, shared_atomics;
    u64 barriers = 0;    ///< warps that arrived
    u64 fences = 0;      ///< by warps
    u64 warp_syncs = 0;  ///< shuffles, votes and the like
    u64 mma_instructions = 0, mma_flops = 0;
    u32 shared_bytes = 0;  ///< of the largest block
    u32 local_bytes = 0;   ///< per thread
};

/// The settings of CUDA_EMULATOR_STATS.
namespace statistics {

bool enabled();
bool tracing();
KernelStatistics &of_kernel(const std::string &name);
const std::map<std::string, KernelStatistics> &all();
void trace(const std::string &name, const u32 grid[3], const u32 block[3], u32 dynamic_shared);
/// Writes the counters if there are new ones since the last report. Also runs at exit.
void report();
void reset();

std::string json(const std::map<std::string, KernelStatistics> &kernels);
void print_table(const std::map<std::string, KernelStatistics> &kernels);

}  // namespace statistics
}  // namespace cuda_emulator
