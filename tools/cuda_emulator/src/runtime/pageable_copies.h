#pragma once
#include <cstddef>
#include <limits>

#include "numbers/type.h"

// cudaMemcpy from pageable host memory returns when a small copy is staged, before it is in device memory. Here it gets
// there as late as CUDA allows: at the next call that waits for the legacy default stream, and before work that this
// stream orders behind it. Non-blocking streams do not wait, so their kernels see the former bytes.

namespace cuda_emulator::runtime {

constexpr size_t kMostStagedBytes = 64 * 1024;

/// Reads the bytes now; land_copies() writes them.
void stage_copy(void *to, const void *from, size_t bytes);

/// The number of copies that were staged until now.
u64 staged_copies();

/// Writes the first `count` copies that were staged, unless they are written.
void land_copies(u64 count = std::numeric_limits<u64>::max());

/// Forgets copies to memory that is freed.
void drop_copies(u64 start, u64 end);

}  // namespace cuda_emulator::runtime
