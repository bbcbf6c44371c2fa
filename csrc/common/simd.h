#pragma once

/// Compiles a function once for AVX2 and once for the baseline; the loader picks. Both give the same
/// bits: contraction to fused multiply-adds is off and no loop reorders a sum.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define RF_SIMD_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define RF_SIMD_CLONES
#endif
