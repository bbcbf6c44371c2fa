#pragma once
#include "memory/pages.h"

// Programmatic dependent launch: a kernel may start before the one before it has ended. What it reads or writes before
// griddepcontrol.wait must not be what earlier kernels of the chain write, or write or read. The emulator runs kernels
// one after another and remembers their accesses, so that it finds every such access, whatever the timing.

namespace cuda_emulator {

/// How a kernel is launched. Accesses are remembered but for kUnchained.
enum class LaunchOrder { kUnchained, kAfterAll, kDependent };

class Dependence {
  public:
    /// Begins a launch; one that is not dependent begins a chain.
    void start_launch(LaunchOrder order);
    void end_launch();
    /// Forgets the chain: other work came between.
    void clear();

    bool is_dependent() const { return dependent_; }
    /// Whether an access that does not wait conflicts with earlier kernels.
    bool conflicts(u64 address, u32 bytes, bool store);
    void note(u64 address, u32 bytes, bool store);

    bool waited = false;  ///< a thread of this launch has waited

  private:
    struct Page {
        u8 accesses[memory::kPageBytes] = {};
    };

    memory::Pages<Page> earlier_, own_;
    bool dependent_ = false;
};

extern Dependence dependence;

}  // namespace cuda_emulator
