#include <thrust/device_vector.h>
#include <thrust/reduce.h>
#include <thrust/sort.h>

#include <algorithm>
#include <cub/cub.cuh>
#include <numeric>

#include "check.h"

constexpr int kCount = 10000;

std::vector<unsigned> random_numbers() {
    std::vector<unsigned> numbers(kCount);
    unsigned state = 1;
    for (unsigned &number : numbers) {
        number = state = state * 1664525 + 1013904223;
    }
    return numbers;
}

/// Calls a CUB function twice: for the size of its workspace, and with the workspace.
template <class Function, class... Arguments>
void with_workspace(Function function, Arguments... arguments) {
    void *workspace = nullptr;
    size_t bytes = 0;
    CHECK_OK(function(workspace, bytes, arguments...));
    CHECK_OK(cudaMalloc(&workspace, bytes));
    CHECK_OK(function(workspace, bytes, arguments...));
    CHECK_OK(cudaFree(workspace));
}

TEST(cub_sum) {
    thrust::device_vector<int> numbers(kCount, 4), sum(1);
    with_workspace([](auto &&...arguments) { return cub::DeviceReduce::Sum(arguments...); },
                   thrust::raw_pointer_cast(numbers.data()), thrust::raw_pointer_cast(sum.data()), kCount);
    CHECK(sum[0] == 4 * kCount);
}

TEST(cub_sort) {
    std::vector<unsigned> numbers = random_numbers(), sorted(kCount);
    thrust::device_vector<unsigned> from(numbers.begin(), numbers.end()), to(kCount);
    with_workspace([](auto &&...arguments) { return cub::DeviceRadixSort::SortKeys(arguments...); },
                   static_cast<const unsigned *>(thrust::raw_pointer_cast(from.data())),
                   thrust::raw_pointer_cast(to.data()), kCount);
    thrust::copy(to.begin(), to.end(), sorted.begin());
    std::sort(numbers.begin(), numbers.end());
    CHECK(sorted == numbers);
}

TEST(cub_scan) {
    std::vector<int> expected(kCount), found(kCount);
    std::iota(expected.begin(), expected.end(), 1);
    thrust::device_vector<int> ones(kCount, 1), sums(kCount);
    with_workspace([](auto &&...arguments) { return cub::DeviceScan::InclusiveSum(arguments...); },
                   thrust::raw_pointer_cast(ones.data()), thrust::raw_pointer_cast(sums.data()), kCount);
    thrust::copy(sums.begin(), sums.end(), found.begin());
    CHECK(found == expected);
}

TEST(thrust_reduce) {
    const thrust::device_vector<int> numbers(1000, 3);
    CHECK(thrust::reduce(numbers.begin(), numbers.end()) == 3000);
}

int main(int arguments, char **names) {
    return run_test(arguments, names);
}
