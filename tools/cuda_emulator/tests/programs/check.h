#pragma once
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

// A program of named tests: runs the test that is its argument, and exits at the first failed check.

inline std::map<std::string, void (*)()> &tests() {
    static std::map<std::string, void (*)()> tests;
    return tests;
}

struct Registration {
    Registration(const char *name, void (*test)()) { tests()[name] = test; }
};

#define TEST(name)                                               \
    static void test_##name();                                   \
    static Registration registration_##name(#name, test_##name); \
    static void test_##name()

#define CHECK(condition)                                                                        \
    do {                                                                                        \
        if (!(condition)) {                                                                     \
            std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
            std::exit(1);                                                                       \
        }                                                                                       \
    } while (false)

#define CHECK_ERROR(call, expected)                                                             \
    do {                                                                                        \
        const cudaError_t error = (call);                                                       \
        if (error != (expected)) {                                                              \
            std::fprintf(stderr, "%s:%d: %s gave %s, expected %s\n", __FILE__, __LINE__, #call, \
                         cudaGetErrorName(error), #expected);                                   \
            std::exit(1);                                                                       \
        }                                                                                       \
        cudaGetLastError();                                                                     \
    } while (false)

#define CHECK_OK(call) CHECK_ERROR(call, cudaSuccess)

inline int run_test(int arguments, char **names) {
    const auto found = arguments == 2 ? tests().find(names[1]) : tests().end();
    if (found == tests().end()) {
        std::fprintf(stderr, "no such test\n");
        return 2;
    }
    found->second();
    return 0;
}

/// Device memory of zero-initialised ints.
inline int *zeros(int count) {
    int *pointer = nullptr;
    CHECK_OK(cudaMalloc(&pointer, count * sizeof(int)));
    CHECK_OK(cudaMemset(pointer, 0, count * sizeof(int)));
    return pointer;
}

inline std::vector<int> read(const int *device, int count) {
    std::vector<int> host(count);
    CHECK_OK(cudaMemcpy(host.data(), device, count * sizeof(int), cudaMemcpyDeviceToHost));
    return host;
}
