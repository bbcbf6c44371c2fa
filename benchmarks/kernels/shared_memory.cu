#include <cstdio>
#include <cstdlib>

#include "ops/cuda/deform_conv/fma.cuh"
#include "ops/cuda/deform_conv/mma.cuh"

// Prints the largest dynamic shared memory, in bytes, of each instance of the deformable convolution in
// RetinaFace's context modules. Runs no kernel. Argument: the shared memory limit of a block,
// in bytes. The convolution's feature maps are those of a 640 x 640 image, from stride 4 to stride 64.

namespace {

using namespace retinaface;

template <typename Multiplier>
void print(const char *instance, int shared_limit) {
    int most = 0;
    for (int side : {160, 80, 40, 20, 10}) {
        DeformConvParams p;
        p.in_channels = p.out_channels = 256;
        p.height = p.width = side;
        if (Multiplier::kKernelTaps == 0) {
            p.kernel_h = p.kernel_w = 7;  // the fallback is for such kernels
        }
        p.pad_top = p.pad_left = p.pad_bottom = p.pad_right = p.kernel_h / 2;
        auto footprint = Multiplier::footprint(deform_conv_taps_per_pass(p));
        most = std::max(most, make_deform_conv_plan(p, footprint, shared_limit).shared_bytes);
    }
    std::printf("%s\t%d\n", instance, most);
}

}  // namespace

// The printed names match the demangled ones.
#define PRINT(...) print<__VA_ARGS__>(#__VA_ARGS__, std::atoi(argv[1]))

int main(int, char **argv) {
    PRINT(DeformMma<__half, 9, 1>);
    PRINT(DeformMma<__half, 9, 2>);
    PRINT(DeformMma<__half, 9, 4>);
    PRINT(DeformMma<__half, 0, 2>);
    PRINT(DeformMma<__nv_bfloat16, 9, 1>);
    PRINT(DeformMma<__nv_bfloat16, 9, 2>);
    PRINT(DeformMma<__nv_bfloat16, 9, 4>);
    PRINT(DeformMma<__nv_bfloat16, 0, 2>);
    PRINT(DeformFma<float, 9, 8>);
    PRINT(DeformFma<float, 9, 4>);
    PRINT(DeformFma<float, 9, 2>);
    PRINT(DeformFma<float, 0, 4>);
    PRINT(DeformFma<__nv_bfloat16, 0, 4>);
}
