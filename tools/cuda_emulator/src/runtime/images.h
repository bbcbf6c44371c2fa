#pragma once
#include <cuda_runtime_api.h>

#include <memory>
#include <string>

#include "ptx/module.h"
#include "runtime/settings.h"

namespace cuda_emulator::runtime {

/// The device code of a program or library: the PTX that the device would choose.
struct Image {
    std::string ptx;
    int architecture = 0;

    /// Parsed at the first use. Null, with a message, if there is no PTX or it cannot be parsed.
    Module *module();

  private:
    std::unique_ptr<Module> module_;
    bool read_ = false;
};

/// A __global__ function, identified by the address of its host stub.
struct Kernel {
    Image *image;
    std::string name;
    u32 dynamic_shared_limit = kSharedBytes;
    bool opted_in = false;  ///< uses more shared memory than kSharedBytes

    /// The linked kernel; null if the image has no such kernel.
    Function *function();
};

/// Null if no such kernel is registered.
Kernel *find_kernel(const void *host_function);

/// The address of a __device__ or __constant__ variable; null if there is none.
u8 *find_variable(const void *host_variable, size_t *bytes = nullptr);

}  // namespace cuda_emulator::runtime
