// One kernel per operation; test_integers.py has the same operations in Python.

#define OF_TWO(name, type, expression)                                            \
    extern "C" __global__ void name(const type *a, const type *b, type *result) { \
        const int i = blockIdx.x * blockDim.x + threadIdx.x;                      \
        const type x = a[i], y = b[i];                                            \
        result[i] = expression;                                                   \
    }

using u32 = unsigned;
using s32 = int;
using u64 = unsigned long long;
using s64 = long long;
using u128 = unsigned __int128;

OF_TWO(add_u32, u32, x + y)
OF_TWO(subtract_u32, u32, x - y)
OF_TWO(multiply_u32, u32, x *y + 7)
OF_TWO(multiply_high_u32, u32, __umulhi(x, y))
OF_TWO(multiply_high_s32, s32, __mulhi(x, y))
OF_TWO(multiply_24_u32, u32, __umul24(x, y))
OF_TWO(multiply_24_s32, s32, __mul24(x, y))
OF_TWO(divide_u32, u32, x / (y | 1))
OF_TWO(remainder_u32, u32, x % (y | 1))
OF_TWO(divide_s32, s32, x / (y | 1))
OF_TWO(remainder_s32, s32, x % (y | 1))
OF_TWO(minimum_s32, s32, min(x, y))
OF_TWO(maximum_u32, u32, max(x, y))
OF_TWO(absolute_s32, s32, abs(x) - y)
OF_TWO(shift_left_u32, u32, x << (y & 31))
OF_TWO(shift_right_u32, u32, x >> (y & 31))
OF_TWO(shift_right_s32, s32, x >> (y & 31))
OF_TWO(logic_u32, u32, (x & ~y) | (~x & y & 0x0ff0ff0f))
OF_TWO(funnel_left_u32, u32, __funnelshift_l(x, y, y))
OF_TWO(funnel_right_u32, u32, __funnelshift_r(x, y, x))
OF_TWO(reverse_u32, u32, __brev(x) ^ y)
OF_TWO(leading_zeros_u32, u32, __clz(x &y))
OF_TWO(ones_u32, u32, __popc(x ^ y))
OF_TWO(first_set_u32, u32, __ffs(x &y))
OF_TWO(difference_u32, u32, __usad(x, y, 7))
OF_TWO(difference_s32, s32, __sad(x, y, 3))
OF_TWO(bytes_apart_u32, u32, __vabsdiffu4(x, y))
OF_TWO(bytes_apart_sum_u32, u32, __vsadu4(x, y))
OF_TWO(dot_bytes_s32, s32, __dp4a(x, y, 5))
OF_TWO(dot_halves_s32, s32, __dp2a_hi(x, y, 5))
OF_TWO(permute_u32, u32, __byte_perm(x, y, x ^ y))
OF_TWO(multiply_u64, u64, x *y)
OF_TWO(multiply_high_u64, u64, __umul64hi(x, y))
OF_TWO(multiply_wide_s64, s64, (s64)(s32)x *(s32)y + y)
OF_TWO(divide_u64, u64, x / (y | 1))
OF_TWO(remainder_s64, s64, x % (y | 1))
OF_TWO(carry_u64, u64, (u64)(((u128)x * y + ((u128)y << 64 | x)) >> 64))
OF_TWO(borrow_u64, u64, (u64)((((u128)x << 64 | y) - ((u128)y << 64 | x)) >> 64))

// Bit fields; position and length are the lowest bytes of y.
#define FIELD(name, type, instruction, constraint)                                \
    extern "C" __global__ void name(const type *a, const type *b, type *result) { \
        const int i = blockIdx.x * blockDim.x + threadIdx.x;                      \
        const u32 position = b[i] & 255, length = b[i] >> 8 & 255;                \
        asm(instruction " %0, %1, %2, %3;"                                        \
            : "=" constraint(result[i])                                           \
            : constraint(a[i]), "r"(position), "r"(length));                      \
    }
#define INSERT(name, type, instruction, constraint)                               \
    extern "C" __global__ void name(const type *a, const type *b, type *result) { \
        const int i = blockIdx.x * blockDim.x + threadIdx.x;                      \
        const u32 position = b[i] & 255, length = b[i] >> 8 & 255;                \
        asm(instruction " %0, %1, %2, %3, %4;"                                    \
            : "=" constraint(result[i])                                           \
            : constraint(a[i]), constraint(b[i]), "r"(position), "r"(length));    \
    }
FIELD(extract_u32, u32, "bfe.u32", "r")
FIELD(extract_s32, s32, "bfe.s32", "r")
FIELD(extract_s64, s64, "bfe.s64", "l")
INSERT(insert_u32, u32, "bfi.b32", "r")
INSERT(insert_u64, u64, "bfi.b64", "l")

#define PERMUTE(name, instruction)                                                                      \
    extern "C" __global__ void name(const u32 *a, const u32 *b, u32 *result) {                          \
        const int i = blockIdx.x * blockDim.x + threadIdx.x;                                            \
        asm(instruction " %0, %1, %2, %3;" : "=r"(result[i]) : "r"(a[i]), "r"(b[i]), "r"(a[i] ^ b[i])); \
    }
PERMUTE(permute_f4e, "prmt.b32.f4e")
PERMUTE(permute_b4e, "prmt.b32.b4e")
PERMUTE(permute_rc8, "prmt.b32.rc8")
PERMUTE(permute_ecl, "prmt.b32.ecl")
PERMUTE(permute_ecr, "prmt.b32.ecr")
PERMUTE(permute_rc16, "prmt.b32.rc16")

#define OF_ONE(name, instruction)                                              \
    extern "C" __global__ void name(const u32 *a, const u32 *b, u32 *result) { \
        const int i = blockIdx.x * blockDim.x + threadIdx.x;                   \
        asm(instruction " %0, %1;" : "=r"(result[i]) : "r"(a[i] & b[i]));      \
    }
OF_ONE(leading_bit_u32, "bfind.u32")
OF_ONE(leading_bit_shift_s32, "bfind.shiftamt.s32")
