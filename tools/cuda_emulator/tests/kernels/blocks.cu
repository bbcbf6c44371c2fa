// CUB's algorithms for a block.
#include <cub/cub.cuh>

extern "C" __global__ void __launch_bounds__(128) sort_block(const unsigned *a, unsigned *result) {
    using Sort = cub::BlockRadixSort<unsigned, 128, 4>;
    __shared__ typename Sort::TempStorage storage;
    unsigned values[4];
    const int start = blockIdx.x * 512 + threadIdx.x * 4;
    for (int i = 0; i < 4; i++) {
        values[i] = a[start + i];
    }
    Sort(storage).Sort(values);
    for (int i = 0; i < 4; i++) {
        result[start + i] = values[i];
    }
}

extern "C" __global__ void __launch_bounds__(128) scan_block(const int *a, int *result) {
    using Scan = cub::BlockScan<int, 128>;
    __shared__ typename Scan::TempStorage storage;
    const int i = blockIdx.x * 128 + threadIdx.x;
    int sum;
    Scan(storage).InclusiveSum(a[i], sum);
    result[i] = sum;
}
