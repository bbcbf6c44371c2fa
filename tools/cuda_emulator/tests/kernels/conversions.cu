// Each kernel converts in several ways; test_conversions.py has the expected results.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#define INDEX const int i = blockIdx.x * blockDim.x + threadIdx.x

extern "C" __global__ void float_to_short_formats(const float *a, unsigned short *result) {
    INDEX;
    result[i * 5] = __half_as_ushort(__float2half_rn(a[i]));
    result[i * 5 + 1] = __half_as_ushort(__float2half_rz(a[i]));
    result[i * 5 + 2] = __half_as_ushort(__float2half_ru(a[i]));
    result[i * 5 + 3] = __bfloat16_as_ushort(__float2bfloat16_rn(a[i]));
    result[i * 5 + 4] = __bfloat16_as_ushort(__float2bfloat16_rz(a[i]));
}

extern "C" __global__ void half_to_float(const unsigned short *a, float *result) {
    INDEX;
    result[i * 2] = __half2float(__ushort_as_half(a[i]));
    result[i * 2 + 1] = __bfloat162float(__ushort_as_bfloat16(a[i]));
}

extern "C" __global__ void float_to_integer(const float *a, int *result) {
    INDEX;
    result[i * 6] = __float2int_rn(a[i]);
    result[i * 6 + 1] = __float2int_rz(a[i]);
    result[i * 6 + 2] = __float2int_rd(a[i]);
    result[i * 6 + 3] = __float2int_ru(a[i]);
    result[i * 6 + 4] = (int)__float2uint_rn(a[i]);
    short narrow;
    asm("cvt.rzi.s16.f32 %0, %1;" : "=h"(narrow) : "f"(a[i]));
    result[i * 6 + 5] = narrow;
}

extern "C" __global__ void float_to_long(const double *a, long long *result) {
    INDEX;
    result[i * 2] = __double2ll_rz(a[i]);
    result[i * 2 + 1] = (long long)__double2ull_rn(a[i]);
}

extern "C" __global__ void integer_to_float(const long long *a, float *result, double *doubles) {
    INDEX;
    result[i * 4] = __ll2float_rn(a[i]);
    result[i * 4 + 1] = __ll2float_rd(a[i]);
    result[i * 4 + 2] = __ull2float_ru((unsigned long long)a[i]);
    result[i * 4 + 3] = __int2float_rz((int)a[i]);
    doubles[i] = __ll2double_rn(a[i]);
}

extern "C" __global__ void double_to_float(const double *a, float *result) {
    INDEX;
    result[i * 3] = __double2float_rn(a[i]);
    result[i * 3 + 1] = __double2float_rd(a[i]);
    result[i * 3 + 2] = __double2float_ru(a[i]);
}

extern "C" __global__ void round_to_integral(const float *a, float *result) {
    INDEX;
    result[i * 4] = rintf(a[i]);
    result[i * 4 + 1] = truncf(a[i]);
    result[i * 4 + 2] = floorf(a[i]);
    result[i * 4 + 3] = ceilf(a[i]);
}

extern "C" __global__ void narrow_integers(const int *a, const int *b, int *result) {
    INDEX;
    result[i * 5] = (signed char)a[i];
    result[i * 5 + 1] = (unsigned short)a[i];
    asm("cvt.sat.s8.s32 %0, %1;" : "=r"(result[i * 5 + 2]) : "r"(a[i]));
    asm("cvt.pack.sat.u8.s32.b32 %0, %1, %2, %3;" : "=r"(result[i * 5 + 3]) : "r"(a[i]), "r"(b[i]), "r"(0x1234));
    asm("cvt.pack.sat.s16.s32 %0, %1, %2;" : "=r"(result[i * 5 + 4]) : "r"(a[i]), "r"(b[i]));
}

extern "C" __global__ void pack_halves(const float *a, const float *b, unsigned *result) {
    INDEX;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(result[i * 4]) : "f"(a[i]), "f"(b[i]));
    asm("cvt.rn.relu.f16x2.f32 %0, %1, %2;" : "=r"(result[i * 4 + 1]) : "f"(a[i]), "f"(b[i]));
    asm("cvt.rz.bf16x2.f32 %0, %1, %2;" : "=r"(result[i * 4 + 2]) : "f"(a[i]), "f"(b[i]));
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result[i * 4 + 3]) : "f"(a[i]));
}
