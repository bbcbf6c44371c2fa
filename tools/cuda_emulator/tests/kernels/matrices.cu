#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>

using namespace nvcuda;

// 16 x 16 by 16 x 8 halves, with ldmatrix.
extern "C" __global__ void multiply_halves(const half *a, const half *b, float *c) {
    __shared__ __align__(16) half tile_a[256], tile_b[128];
    const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
    reinterpret_cast<int4 *>(tile_a)[lane] = reinterpret_cast<const int4 *>(a)[lane];
    if (lane < 16) {
        reinterpret_cast<int4 *>(tile_b)[lane] = reinterpret_cast<const int4 *>(b)[lane];
    }
    __syncwarp();
    unsigned x[4], y[2];
    const unsigned from_a = (unsigned)__cvta_generic_to_shared(tile_a + lane % 16 * 16 + lane / 16 * 8);
    const unsigned from_b = (unsigned)__cvta_generic_to_shared(tile_b + lane % 16 * 8);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(from_a));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(y[0]), "=r"(y[1])
                 : "r"(from_b));
    float sum[4] = {};
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
        "%3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
    for (int i = 0; i < 4; i++) {
        c[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = sum[i];
    }
}

// 16 x 32 by 32 x 8 bytes; b is column-major.
extern "C" __global__ void multiply_bytes(const signed char *a, const signed char *b, int *c) {
    const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
    unsigned x[4], y[2];
    for (int i = 0; i < 4; i++) {
        x[i] = *reinterpret_cast<const unsigned *>(a + (g + i % 2 * 8) * 32 + i / 2 * 16 + t * 4);
    }
    for (int i = 0; i < 2; i++) {
        y[i] = *reinterpret_cast<const unsigned *>(b + g * 32 + i * 16 + t * 4);
    }
    int sum[4] = {};
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
        "%3};"
        : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3])
        : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
    for (int i = 0; i < 4; i++) {
        c[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = sum[i];
    }
}

extern "C" __global__ void multiply_doubles(const double *a, const double *b, double *c) {  // 8 x 4 by 4 x 8
    const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
    double c0 = 0, c1 = 0;
    asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
                 : "+d"(c0), "+d"(c1)
                 : "d"(a[lane]), "d"(b[t * 8 + g]));
    c[g * 8 + t * 2] = c0;
    c[g * 8 + t * 2 + 1] = c1;
}

// c = 2 a b, with operations on whole fragments.
template <class Factor, class Sum, int M, int N, int K>
__device__ void twice_product(const Factor *a, const Factor *b, Sum *c) {
    wmma::fragment<wmma::matrix_a, M, N, K, Factor, wmma::row_major> x;
    wmma::fragment<wmma::matrix_b, M, N, K, Factor, wmma::row_major> y;
    wmma::fragment<wmma::accumulator, M, N, K, Sum> sum;
    wmma::fill_fragment(sum, Sum(0));
    wmma::load_matrix_sync(x, a, K);
    wmma::load_matrix_sync(y, b, N);
    wmma::mma_sync(sum, x, y, sum);
    for (int i = 0; i < sum.num_elements; i++) {
        sum.x[i] = sum.x[i] + sum.x[i];
    }
    wmma::store_matrix_sync(c, sum, N, wmma::mem_row_major);
}

extern "C" __global__ void wmma_halves(const half *a, const half *b, float *c) {
    twice_product<half, float, 16, 16, 16>(a, b, c);
}
extern "C" __global__ void wmma_half_sums(const half *a, const half *b, half *c) {
    twice_product<half, half, 16, 16, 16>(a, b, c);
}
extern "C" __global__ void wmma_bf16(const __nv_bfloat16 *a, const __nv_bfloat16 *b, float *c) {
    twice_product<__nv_bfloat16, float, 16, 16, 16>(a, b, c);
}
extern "C" __global__ void wmma_bytes(const signed char *a, const signed char *b, int *c) {
    twice_product<signed char, int, 32, 8, 16>(a, b, c);
}
extern "C" __global__ void wmma_tf32(const float *a, const float *b, float *c) {
    wmma::fragment<wmma::matrix_a, 16, 16, 8, wmma::precision::tf32, wmma::row_major> x;
    wmma::fragment<wmma::matrix_b, 16, 16, 8, wmma::precision::tf32, wmma::row_major> y;
    wmma::fragment<wmma::accumulator, 16, 16, 8, float> sum;
    wmma::fill_fragment(sum, 0.f);
    wmma::load_matrix_sync(x, a, 8);
    wmma::load_matrix_sync(y, b, 16);
    wmma::mma_sync(sum, x, y, sum);
    wmma::store_matrix_sync(c, sum, 16, wmma::mem_row_major);
}
