#include <cstdio>

#include "instructions/handlers.h"

// printf, assert and trap of device code. All other calls have been inlined.

namespace cuda_emulator {
namespace {

/// The packed arguments of printf, each aligned to its size.
class PackedArguments {
  public:
    explicit PackedArguments(u64 address) : start_(address), next_(address) {}

    u64 take(u32 bytes) {
        next_ = start_ + (next_ - start_ + bytes - 1) / bytes * bytes;
        const u64 value = read_memory(next_, bytes);
        next_ += bytes;
        return value;
    }

  private:
    u64 start_, next_;
};

bool is_one_of(char c, const char *characters) {
    return c && std::strchr(characters, c);
}

/// One conversion; `flags` is the text between "%" and the letter, without the length.
std::string formatted(const std::string &flags, char letter, bool is_long, PackedArguments &arguments) {
    char buffer[512];
    if (is_one_of(letter, "fFeEgGaA")) {
        std::snprintf(buffer, sizeof(buffer), ("%" + flags + letter).c_str(), f64_value(arguments.take(8)));
    } else if (letter == 's') {
        std::snprintf(buffer, sizeof(buffer), ("%" + flags + "s").c_str(),
                      reinterpret_cast<const char *>(arguments.take(8)));
    } else if (letter == 'p') {
        std::snprintf(buffer, sizeof(buffer), "%p", reinterpret_cast<void *>(arguments.take(8)));
    } else if (letter == 'c') {
        std::snprintf(buffer, sizeof(buffer), ("%" + flags + "c").c_str(), static_cast<int>(arguments.take(4)));
    } else {
        u64 value = arguments.take(is_long ? 8 : 4);
        if (!is_long && is_one_of(letter, "di")) {
            value = extend(value, {Kind::kSigned, 32});
        }
        std::snprintf(buffer, sizeof(buffer), ("%" + flags + "ll" + letter).c_str(), static_cast<long long>(value));
    }
    return buffer;
}

std::string formatted(const char *format, PackedArguments arguments) {
    std::string text;
    while (*format) {
        if (*format != '%') {
            text += *format++;
            continue;
        }
        format++;
        std::string flags;
        bool is_long = false;
        for (; *format && !is_one_of(*format, "diuxXofFeEgGcspaA%"); format++) {
            if (*format == '*') {
                flags += std::to_string(static_cast<s32>(arguments.take(4)));
            } else if (is_one_of(*format, "lzh")) {
                is_long |= *format != 'h';
            } else {
                flags += *format;
            }
        }
        if (!*format) {
            break;
        }
        const char letter = *format++;
        text += letter == '%' ? "%" : formatted(flags, letter, is_long, arguments);
    }
    return text;
}

const char *text_at(u64 address) {
    return reinterpret_cast<const char *>(address);
}

/// The operands are places in local memory: link() made them from the call's arguments and results.
void call_runtime(Execution &x) {
    const Instruction &instruction = *x.instruction;
    const auto place = [&](size_t argument, int lane) { return x.source(static_cast<int>(argument))[lane]; };
    x.each([&](int lane) {
        const char *text = text_at(read_memory(place(0, lane), 8));
        if (instruction.callee == "__assertfail") {
            x.fault(lane, std::string("device assert: ") + text);
        }
        std::fputs(formatted(text, PackedArguments(read_memory(place(1, lane), 8))).c_str(), stdout);
        if (!instruction.call_results.empty()) {
            write_memory(place(instruction.call_arguments.size(), lane), 1, 4);
        }
    });
    std::fflush(stdout);
}

void trap(Execution &x) {
    x.fault(x.first_lane(), x.block.function->syncs_grid ? "trap in a kernel that uses grid-wide cooperative groups "
                                                           "(grid.sync is not supported)"
                                                         : "trap");
}

}  // namespace

Handler select_device_call(Instruction &instruction) {
    if (instruction.opcode == "trap" || instruction.opcode == "brkpt") {
        return trap;
    }
    return instruction.opcode == "call" ? call_runtime : nullptr;
}

}  // namespace cuda_emulator
