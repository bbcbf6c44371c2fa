#include <cstdio>

#include "ops/cuda/deform_conv/plan.h"

// Prints the dynamic shared memory, in bytes, of the deformable convolution with 3x3 kernels. Runs no kernel. The
// printed names match the demangled ones.

int main() {
    for (const char *type : {"float", "__half", "__nv_bfloat16"}) {
        for (int co_tile : {64, 128, 256}) {
            const int bytes = retinaface::deform_conv_shared_bytes(co_tile, 9);
            std::printf("deform_conv_kernel<%s, %d>\t%d\n", type, co_tile, bytes);
        }
    }
}
