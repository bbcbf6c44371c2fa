#pragma once
#include <vector>

#include "memory/pages.h"

// When stores to global memory reach other blocks of the same launch: as late as PTX's memory model allows. Blocks run
// one after another, so a missing fence would otherwise go unnoticed.
//
// A weak store is published by a fence behind it and a strong store behind the fence, such as an atomic; else at the
// kernel's end. "Behind" is in the same thread, or behind a barrier of the block or the warp. A thread sees what others
// have published only after a strong load and a fence behind it, its own or one before a barrier; until then it sees
// memory as it was before the launch. A block sees its own stores at once. Strong loads see what is published, and what
// strong stores write is published at once.

namespace cuda_emulator {

class Visibility {
  public:
    /// What a thread does: how many barriers of its block and of its warp were before.
    struct Step {
        u32 thread;
        int warp;
        u64 block_barriers, warp_barriers;

        bool is_before(const Step &other) const {
            return thread == other.thread || block_barriers < other.block_barriers ||
                   (warp == other.warp && warp_barriers < other.warp_barriers);
        }
    };

    void start_block();
    /// `fresh`: the reader sees what other blocks have published.
    u64 read(u64 address, u32 bytes, bool fresh);
    void store(u64 address, u64 value, u32 bytes, bool strong, const Step &step);
    /// Of the lanes of a warp; `step` is that of one of them.
    void fence(const Step &step, u32 lanes);

  private:
    struct Page {
        u8 before[memory::kPageBytes];     ///< at the launch
        u8 published[memory::kPageBytes];  ///< memory itself holds the last store, of whatever block
        u32 writer[memory::kPageBytes];    ///< the number of the block of the last store, 0 for none
    };
    struct Store {
        u64 address;
        u32 bytes;
        Step step;  ///< the store, then the fence behind it
    };

    void write(u64 address, u64 value, u32 bytes);
    void publish(u64 address, u32 bytes);

    memory::Pages<Page> pages_;
    std::vector<Store> pending_, fenced_;  ///< weak stores of the block that are not published
    u32 block_ = 0;                        ///< number of the running block, from 1
};

}  // namespace cuda_emulator
