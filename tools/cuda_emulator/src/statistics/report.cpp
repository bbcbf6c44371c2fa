#include <cstdarg>
#include <cstdio>
#include <utility>
#include <vector>

#include "statistics/statistics.h"

namespace cuda_emulator::statistics {
namespace {

std::vector<std::pair<const char *, u64>> fields(const KernelStatistics &k) {
    return {
        {"launches", k.launches},
        {"blocks", k.blocks},
        {"threads", k.threads},
        {"thread_inst", k.thread_instructions},
        {"warp_inst", k.warp_instructions},
        {"busiest_warp_of_blocks_inst", k.busiest_warps},
        {"busiest_warp_of_launches_inst", k.busiest_warp},
        {"branches", k.branches},
        {"divergent_branches", k.divergent_branches},
        {"int_inst", k.by_class[kIntegerClass]},
        {"fp16_inst", k.by_class[kHalfClass]},
        {"fp32_inst", k.by_class[kFloatClass]},
        {"fp64_inst", k.by_class[kDoubleClass]},
        {"special_inst", k.by_class[kSpecialFunctionClass]},
        {"global_load_requests", k.global_load.requests},
        {"global_load_bytes", k.global_load.bytes},
        {"global_load_sectors", k.global_load.sectors},
        {"global_load_groups", k.global_load_groups},
        {"global_load_block_sectors", k.block_sectors},
        {"global_launch_sectors", k.launch_sectors},
        {"global_store_requests", k.global_store.requests},
        {"global_store_bytes", k.global_store.bytes},
        {"global_store_sectors", k.global_store.sectors},
        {"shared_load_requests", k.shared_load.requests},
        {"shared_load_groups", k.shared_load_groups},
        {"shared_load_bytes", k.shared_load.bytes},
        {"shared_load_wavefronts", k.shared_load.wavefronts},
        {"shared_load_conflict_extra", k.shared_load.conflicts},
        {"shared_store_requests", k.shared_store.requests},
        {"shared_store_bytes", k.shared_store.bytes},
        {"shared_store_wavefronts", k.shared_store.wavefronts},
        {"shared_store_conflict_extra", k.shared_store.conflicts},
        {"local_load_requests", k.local_load.requests},
        {"local_load_bytes", k.local_load.bytes},
        {"local_store_requests", k.local_store.requests},
        {"local_store_bytes", k.local_store.bytes},
        {"barriers", k.barriers},
        {"fences", k.fences},
        {"warp_syncs", k.warp_syncs},
        {"global_atomics", k.global_atomics.count},
        {"global_atomic_same_address_extra", k.global_atomics.repeated},
        {"shared_atomics", k.shared_atomics.count},
        {"shared_atomic_same_address_extra", k.shared_atomics.repeated},
        {"mma_inst", k.mma_instructions},
        {"mma_flops", k.mma_flops},
        {"max_shared_bytes_per_block", k.shared_bytes},
        {"local_bytes_per_thread", k.local_bytes},
    };
}

std::string quoted(const std::string &text) {
    std::string result = "\"";
    for (char c : text) {
        if (c == '"' || c == '\\') {
            result += '\\';
        }
        result += c;
    }
    return result + '"';
}

__attribute__((format(printf, 1, 2))) void print_line(const char *format, ...) {
    std::fputs("  ", stderr);
    std::va_list arguments;
    va_start(arguments, format);
    std::vfprintf(stderr, format, arguments);
    va_end(arguments);
    std::fputc('\n', stderr);
}

void print_traffic(const char *what, const Traffic &traffic) {
    const double used = traffic.sectors ? 100.0 * traffic.bytes / (32.0 * traffic.sectors) : 0;
    print_line("%s: %lu requests, %lu bytes, %lu sectors (%.0f%% requested/fetched)", what, traffic.requests,
               traffic.bytes, traffic.sectors, used);
}

void print_traffic(const char *what, const SharedTraffic &traffic) {
    print_line("%s: %lu requests, %lu bytes, %lu wavefronts, %lu from bank conflicts", what, traffic.requests,
               traffic.bytes, traffic.wavefronts, traffic.conflicts);
}

}  // namespace

std::string json(const std::map<std::string, KernelStatistics> &kernels) {
    std::string text = "{";
    for (const auto &[name, statistics] : kernels) {
        text += (text == "{" ? "\n  " : ",\n  ") + quoted(name) + ": {";
        const char *separator = "";
        for (const auto &[field, value] : fields(statistics)) {
            text += separator + quoted(field) + ": " + std::to_string(value);
            separator = ", ";
        }
        text += "}";
    }
    return text + "\n}\n";
}

void print_table(const std::map<std::string, KernelStatistics> &kernels) {
    for (const auto &[name, k] : kernels) {
        std::fprintf(stderr, "cuda_emulator statistics: %s\n", name.c_str());
        print_line("launches %lu, blocks %lu, threads %lu, shared bytes/block (max) %u, local bytes/thread %u",
                   k.launches, k.blocks, k.threads, k.shared_bytes, k.local_bytes);
        print_line("instructions: %lu thread, %lu warp (%.1f active lanes); branches %lu, divergent %lu",
                   k.thread_instructions, k.warp_instructions,
                   k.warp_instructions ? static_cast<double>(k.thread_instructions) / k.warp_instructions : 0.0,
                   k.branches, k.divergent_branches);
        print_line("arithmetic (thread): int %lu, fp16 %lu, fp32 %lu, fp64 %lu, special %lu; mma %lu (%lu flops)",
                   k.by_class[kIntegerClass], k.by_class[kHalfClass], k.by_class[kFloatClass], k.by_class[kDoubleClass],
                   k.by_class[kSpecialFunctionClass], k.mma_instructions, k.mma_flops);
        print_traffic("global load ", k.global_load);
        print_traffic("global store", k.global_store);
        print_traffic("shared load ", k.shared_load);
        print_traffic("shared store", k.shared_store);
        print_line("local: %lu load requests (%lu bytes), %lu store requests (%lu bytes)", k.local_load.requests,
                   k.local_load.bytes, k.local_store.requests, k.local_store.bytes);
        print_line("barriers (warp arrivals) %lu, warp syncs %lu", k.barriers, k.warp_syncs);
        print_line("atomics: global %lu (same-address extra %lu), shared %lu (extra %lu)", k.global_atomics.count,
                   k.global_atomics.repeated, k.shared_atomics.count, k.shared_atomics.repeated);
    }
}

}  // namespace cuda_emulator::statistics
