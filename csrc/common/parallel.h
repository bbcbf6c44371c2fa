#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace retinaface {

/// What 0 threads mean to parallel_for; itself 0: one per core.
inline std::atomic<int> default_threads{0};

/// Calls body(begin, end) for pieces of [0, count) of up to `grain` items, on up to `num_threads` threads (0:
/// default_threads) including the caller's. A free thread takes the next piece, so any thread may run any piece: a body
/// may write only data of its own items. Rethrows an exception of a body after all threads have ended.
template <typename Body>
void parallel_for(int64_t count, int64_t grain, int num_threads, const Body &body) {
    int64_t pieces = (count + grain - 1) / grain;
    int64_t wanted = num_threads > 0 ? num_threads : default_threads.load();
    wanted = wanted > 0 ? wanted : std::max(1u, std::thread::hardware_concurrency());
    int64_t helpers = std::max<int64_t>(0, std::min(wanted, pieces) - 1);

    std::atomic<int64_t> next{0};
    std::exception_ptr error;
    std::mutex error_mutex;
    auto work = [&] {
        try {
            for (int64_t begin; (begin = next.fetch_add(grain)) < count;) {
                body(begin, std::min(begin + grain, count));
            }
        } catch (...) {
            next = count;
            std::lock_guard<std::mutex> lock(error_mutex);
            error = std::current_exception();
        }
    };
    std::vector<std::thread> threads;
    threads.reserve(helpers);  // here an exception still finds no thread running
    for (int64_t i = 0; i < helpers; ++i) {
        try {
            threads.emplace_back(work);
        } catch (const std::system_error &) {
            break;  // no more threads available: the running ones and the caller do all the work
        }
    }
    work();
    for (std::thread &thread : threads) {
        thread.join();
    }
    if (error) {
        std::rethrow_exception(error);
    }
}

}  // namespace retinaface
