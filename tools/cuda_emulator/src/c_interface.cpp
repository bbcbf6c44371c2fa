#include <algorithm>

#include "execution/execution.h"

// The C interface of the Python module. After a failure, cuda_emulator_error() returns the reason.

using namespace cuda_emulator;

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace {

std::string last_error;

/// Runs a function; false if it threw an exception.
template <class Function>
bool succeeds(Function function) {
    try {
        function();
        return true;
    } catch (const std::exception &error) {
        last_error = error.what();
        return false;
    }
}

}  // namespace

EXPORTED const char *cuda_emulator_error() {
    return last_error.c_str();
}

/// Null if the PTX cannot be parsed.
EXPORTED Module *cuda_emulator_load(const char *ptx) {
    Module *module = nullptr;
    succeeds([&] { module = parse_module(ptx).release(); });
    return module;
}

EXPORTED void cuda_emulator_unload(Module *module) {
    delete module;
}

/// Gives sizes and alignments of at most `most` parameters of a kernel; returns their number, -1 if there is no kernel.
EXPORTED int cuda_emulator_parameters(const Module *module, const char *kernel, int *sizes, int *alignments, int most) {
    const auto found = module->functions.find(kernel);
    if (found == module->functions.end()) {
        return -1;
    }
    const std::vector<Variable> &parameters = found->second.parameters;
    const int count = static_cast<int>(parameters.size());
    for (int i = 0; i < std::min(count, most); i++) {
        sizes[i] = std::max(1, parameters[i].bytes);
        alignments[i] = parameters[i].align;
    }
    return count;
}

/// Returns 0, or 1 if the launch failed.
EXPORTED int cuda_emulator_launch(Module *module, const char *kernel, const u32 *grid, const u32 *block,
                                  const u8 *parameters, u32 dynamic_shared) {
    return succeeds([&] { launch(*module, kernel, grid, block, parameters, dynamic_shared); }) ? 0 : 1;
}

/// Adds memory that kernels may access; memory that was not added is out of bounds.
EXPORTED void cuda_emulator_add_range(u64 start, u64 bytes) {
    memory::enable_checks();
    memory::add_range(start, bytes);
}

EXPORTED void cuda_emulator_remove_range(u64 start) {
    memory::remove_range(start);
}

/// The kernels' unsupported instructions, one per line; executing one raises an error.
EXPORTED const char *cuda_emulator_unsupported(const Module *module) {
    static std::string lines;
    lines.clear();
    for (const auto &[name, function] : module->functions) {
        for (const Instruction &instruction : function.code) {
            if (function.is_entry && !is_supported(instruction)) {
                const std::string &reason = instruction.refusal;
                lines += position(*module, function, instruction) + (reason.empty() ? "" : "  [" + reason + "]") + "\n";
            }
        }
    }
    return lines.c_str();
}

EXPORTED u64 cuda_emulator_issued_instructions() {
    return issued_instructions;
}

EXPORTED const char *cuda_emulator_statistics() {
    static std::string text;
    text = statistics::json(statistics::all());
    return text.c_str();
}

EXPORTED void cuda_emulator_reset_statistics() {
    statistics::reset();
}
