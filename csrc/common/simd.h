#pragma once

/// Compiles a function for AVX2 and for the baseline; the loader picks one. Both return the same bits: contraction to
/// fused multiply-adds is off and no loop reorders a sum.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define RF_SIMD_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define RF_SIMD_CLONES
#endif
