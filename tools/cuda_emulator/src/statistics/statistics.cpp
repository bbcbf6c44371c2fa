#include "statistics/statistics.h"

#include <cstdio>
#include <cstdlib>

namespace cuda_emulator::statistics {
namespace {

struct State {
    bool enabled = false, tracing = false, reported = false;
    std::string file;  // empty: a table on stderr
    std::map<std::string, KernelStatistics> kernels;

    // "1", "FILE", "trace" or "trace:FILE"
    State() {
        const char *variable = std::getenv("CUDA_EMULATOR_STATS");
        std::string wish = variable ? variable : "";
        if (wish.empty() || wish == "0") {
            return;
        }
        enabled = true;
        tracing = wish == "trace" || wish.rfind("trace:", 0) == 0;
        if (tracing) {
            wish.erase(0, wish == "trace" ? 5 : 6);
        }
        file = wish == "1" ? "" : wish;
        std::atexit(report);
    }
};

State &state() {
    static State *const state = new State;  // never destroyed: report() runs at exit
    return *state;
}

}  // namespace

bool enabled() {
    return state().enabled;
}
bool tracing() {
    return state().tracing;
}

KernelStatistics &of_kernel(const std::string &name) {
    state().reported = false;
    return state().kernels[name];
}

const std::map<std::string, KernelStatistics> &all() {
    return state().kernels;
}

void reset() {
    state().kernels.clear();
}

void trace(const std::string &name, const u32 grid[3], const u32 block[3], u32 dynamic_shared) {
    std::fprintf(stderr, "cuda_emulator: launch %s grid=(%u,%u,%u) block=(%u,%u,%u) dynamic_shared=%u\n", name.c_str(),
                 grid[0], grid[1], grid[2], block[0], block[1], block[2], dynamic_shared);
}

void report() {
    State &current = state();
    if (!current.enabled || current.reported || current.kernels.empty()) {
        return;
    }
    current.reported = true;
    if (current.file.empty()) {
        print_table(current.kernels);
        return;
    }
    std::FILE *file = std::fopen(current.file.c_str(), "w");
    if (!file) {
        std::fprintf(stderr, "cuda_emulator: cannot write %s\n", current.file.c_str());
        return;
    }
    std::fputs(json(current.kernels).c_str(), file);
    std::fclose(file);
}

}  // namespace cuda_emulator::statistics
