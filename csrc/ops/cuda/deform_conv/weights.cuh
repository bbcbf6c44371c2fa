#pragma once

#include <type_traits>

#include "ops/cuda/common/warp.cuh"
#include "ops/cuda/deform_conv/arguments.cuh"
#include "ops/cuda/deform_conv/tma.cuh"

// How the packed weights of a step come into shared memory, while the block multiplies the step before it. All threads
// call this, with a barrier of the block between the last reads of a tile and the copies that overwrite it.

namespace retinaface {

/// Each thread copies units of its own, with cp.async where there is one.
class ThreadCopies {
  public:
    __device__ explicit ThreadCopies(uint32_t /*barrier*/) {}

    __device__ void start(uint32_t target, const unsigned char *unit) {
#if __CUDA_ARCH__ >= 800
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(target), "l"(unit) : "memory");
#else
        *static_cast<uint4 *>(__cvta_shared_to_generic(target)) = *reinterpret_cast<const uint4 *>(unit);
#endif
    }

    /// Waits for what this thread has copied.
    __device__ void wait() {
#if __CUDA_ARCH__ >= 800
        asm volatile("cp.async.wait_all;" ::: "memory");
#endif
    }
};

class TileCopies;

/// TMA for wgmma only: where threads read the tiles, its writes would have to be ordered behind those by one more
/// fence.
template <typename Sums>
using WeightCopies = std::conditional_t<Sums::kAsynchronous, TileCopies, ThreadCopies>;

#ifdef RF_HAS_WGMMA
/// The first thread lets TMA copy a whole tile.
class TileCopies {
  public:
    /// `barrier`: where in shared memory it may be. Needs a barrier of the block before start().
    __device__ explicit TileCopies(uint32_t barrier) : barrier_(barrier) {
        if (thread_index() == 0) {
            make_barrier(barrier);
        }
    }

    /// Copies the box of so many bytes that begins at a row of the matrix.
    __device__ void start(uint32_t target, const CUtensorMap &matrix, uint32_t row, uint32_t bytes) {
        parity_ ^= 1;
        if (thread_index() == 0) {
            expect_bytes(barrier_, bytes);
            copy_box(target, matrix, row, barrier_);
        }
    }

    /// Waits for the last tile that was started, whoever started it; returns at once if none was since the last wait.
    __device__ void wait() {
        while (!has_ended(barrier_, parity_)) {
        }
    }

  private:
    uint32_t barrier_;
    uint32_t parity_ = 1;  // of the last phase that was started: the first has 0
};
#endif

}  // namespace retinaface
