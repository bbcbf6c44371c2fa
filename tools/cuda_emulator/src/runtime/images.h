#pragma once
#include <cuda_runtime_api.h>

#include <memory>
#include <string>

#include "ptx/module.h"
#include "runtime/settings.h"

namespace cuda_emulator::runtime {

/// The device code of a program or library: of its PTX, that which the device would choose.
struct Image {
    std::string ptx;
    int architecture = 0;

    /// Null, and a message, where there is no PTX that can be read. It is read at the first use.
    Module *module();

  private:
    std::unique_ptr<Module> module_;
    bool read_ = false;
};

/// A __global__ function, found by the address of its stub on the host.
struct Kernel {
    Image *image;
    std::string name;
    u32 dynamic_shared_limit = kSharedBytes;
    bool opted_in = false;  ///< to more shared memory than kSharedBytes

    /// Linked; null where the image has no such kernel.
    Function *function();
};

/// Null where the program has registered none.
Kernel *find_kernel(const void *host_function);

/// Where a __device__ or __constant__ variable lies; null where there is none.
u8 *find_variable(const void *host_variable, size_t *bytes = nullptr);

}  // namespace cuda_emulator::runtime
