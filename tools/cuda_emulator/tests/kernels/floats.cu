// One kernel per operation; test_floats.py has the same operations in Python.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#define OF_THREE(name, type, expression)                                                         \
    extern "C" __global__ void name(const type *a, const type *b, const type *c, type *result) { \
        const int i = blockIdx.x * blockDim.x + threadIdx.x;                                     \
        const type x = a[i], y = b[i], z = c[i];                                                 \
        result[i] = expression;                                                                  \
    }
#define INSTRUCTION(name, text)                                                                      \
    extern "C" __global__ void name(const float *a, const float *b, const float *c, float *result) { \
        const int i = blockIdx.x * blockDim.x + threadIdx.x;                                         \
        asm(text " %0, %1, %2;" : "=f"(result[i]) : "f"(a[i]), "f"(b[i]));                           \
    }

OF_THREE(add_nearest, float, __fadd_rn(x, y))
OF_THREE(add_down, float, __fadd_rd(x, y))
OF_THREE(add_up, float, __fadd_ru(x, y))
OF_THREE(subtract_to_zero, float, __fsub_rz(x, y))
OF_THREE(multiply_to_zero, float, __fmul_rz(x, y))
OF_THREE(multiply_up, float, __fmul_ru(x, y))
OF_THREE(divide_nearest, float, __fdiv_rn(x, y))
OF_THREE(divide_up, float, __fdiv_ru(x, y))
OF_THREE(root_nearest, float, __fsqrt_rn(fabsf(x)))
OF_THREE(fma_nearest, float, __fmaf_rn(x, y, z))
OF_THREE(fma_down, float, __fmaf_rd(x, y, z))
OF_THREE(add_up_f64, double, __dadd_ru(x, y * 1e-9))
OF_THREE(multiply_to_zero_f64, double, __dmul_rz(x, y))
OF_THREE(fma_f64, double, fma(x, y, z))
OF_THREE(divide_f64, double, x / y)
OF_THREE(root_f64, double, sqrt(fabs(x)))

OF_THREE(minimum, float, fminf(x, y))
OF_THREE(maximum, float, fmaxf(x, y))
INSTRUCTION(minimum_nan, "min.NaN.f32")
INSTRUCTION(maximum_nan, "max.NaN.f32")
INSTRUCTION(minimum_xorsign, "min.xorsign.abs.f32")
INSTRUCTION(maximum_ftz, "max.ftz.f32")
OF_THREE(saturate, float, __saturatef(x))
OF_THREE(compare, float, (x < y) + 2 * (x <= y) + 4 * (x == y) + 8 * (x != y) + 16 * (x > y) + 32 * (x >= y))
OF_THREE(compare_unordered, float, !(x < y) + 2 * !(x <= y) + 4 * !(x > y) + 8 * !(x >= y))
OF_THREE(classify, float, isnan(x) + 2 * isinf(x) + 4 * signbit(x))

OF_THREE(half_fma, __half2, __hfma2(x, y, z))
OF_THREE(half_fma_relu, __half2, __hfma2_relu(x, y, z))
OF_THREE(half_fma_saturated, __half2, __hfma2_sat(x, y, z))
OF_THREE(half_add_saturated, __half2, __hadd2_sat(x, y))
OF_THREE(half_minimum, __half2, __hmin2(x, y))
OF_THREE(half_maximum_nan, __half2, __hmax2_nan(x, y))
OF_THREE(half_scalar, __half, __hadd(__hmul(x, y), z))
OF_THREE(bf16_fma, __nv_bfloat162, __hfma2(x, y, z))
OF_THREE(bf16_multiply, __nv_bfloat162, __hmul2(x, y))
OF_THREE(bf16_maximum, __nv_bfloat162, __hmax2(x, y))

// Functions that the hardware approximates.
#define APPROXIMATION(name, text)                                                                    \
    extern "C" __global__ void name(const float *a, const float *b, const float *c, float *result) { \
        const int i = blockIdx.x * blockDim.x + threadIdx.x;                                         \
        asm(text " %0, %1;" : "=f"(result[i]) : "f"(a[i]));                                          \
    }
APPROXIMATION(ex2, "ex2.approx.ftz.f32")
APPROXIMATION(lg2, "lg2.approx.ftz.f32")
APPROXIMATION(inverse_root, "rsqrt.approx.ftz.f32")
APPROXIMATION(inverse, "rcp.approx.ftz.f32")
APPROXIMATION(sine, "sin.approx.ftz.f32")
APPROXIMATION(cosine, "cos.approx.ftz.f32")
APPROXIMATION(tangent, "tanh.approx.f32")
OF_THREE(exponential, float, expf(x))
OF_THREE(logarithm, float, logf(x))
OF_THREE(power, float, powf(x, 1.7f))
OF_THREE(error_function, float, erff(x))
OF_THREE(arctangent, float, atan2f(x, 2.f))
OF_THREE(fast_divide, float, __fdividef(x, 3.f))
