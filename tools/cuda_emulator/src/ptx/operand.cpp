#include <cctype>
#include <cstring>

#include "ptx/parse.h"
#include "ptx/scanner.h"

namespace cuda_emulator {
namespace {

bool is_digit(char c) {
    return std::isdigit(static_cast<unsigned char>(c));
}

/// Special registers without components; a cluster has one block, and there is one multiprocessor.
const std::map<std::string, SpecialRegister> kScalarRegisters = {
    {"%laneid", kLane},
    {"%warpid", kWarpIndex},
    {"%nwarpid", kWarpCount},
    {"%lanemask_eq", kLaneMaskEqual},
    {"%lanemask_lt", kLaneMaskBelow},
    {"%lanemask_le", kLaneMaskUpTo},
    {"%lanemask_gt", kLaneMaskAbove},
    {"%lanemask_ge", kLaneMaskFrom},
    {"%dynamic_smem_size", kDynamicSharedBytes},
    {"%total_smem_size", kTotalSharedBytes},
    {"%clock", kClock},
    {"%clock64", kClock},
    {"%clock_hi", kZero},
    {"%globaltimer", kClock},
    {"%globaltimer_lo", kClock},
    {"%globaltimer_hi", kZero},
    {"%smid", kZero},
    {"%nsmid", kOne},
    {"%gridid", kZero},
    {"%is_explicit_cluster", kZero},
    {"%cluster_ctarank", kZero},
    {"%cluster_nctarank", kOne},
};

const std::map<std::string, SpecialRegister> kVectorRegisters = {
    {"%tid", kThreadIndex}, {"%ntid", kBlockSize},       {"%ctaid", kBlockIndex},
    {"%nctaid", kGridSize}, {"%clusterid", kBlockIndex}, {"%nclusterid", kGridSize},
};

Operand special_register(const std::string &name) {
    Operand operand;
    operand.kind = OperandKind::kSpecialRegister;
    const size_t point = name.find('.');
    const std::string base = name.substr(0, point);
    const auto scalar = kScalarRegisters.find(name);
    const auto vector = kVectorRegisters.find(base);
    if (scalar != kScalarRegisters.end()) {
        operand.reg = scalar->second;
    } else if (point != std::string::npos && vector != kVectorRegisters.end()) {
        const int component = name[point + 1] - 'x';
        operand.reg = vector->second + (component >= 0 && component <= 2 ? component : 2);
    } else if (base == "%cluster_ctaid") {
        operand.reg = kZero;
    } else if (base == "%cluster_nctaid") {
        operand.reg = kOne;
    } else if (name.rfind("%envreg", 0) == 0) {
        operand.reg = kEnvironment;
    } else {
        throw Error("unknown register " + name);
    }
    return operand;
}

Operand literal(const std::string &text) {
    Operand operand;
    const bool hexadecimal32 = text[0] == '0' && text.size() == 10 && std::strchr("fF", text[1]);
    const bool hexadecimal64 = text[0] == '0' && text.size() == 18 && std::strchr("dD", text[1]);
    if (hexadecimal32 || hexadecimal64) {
        operand.set_immediate(std::strtoull(text.c_str() + 2, nullptr, 16));
    } else if (text.find('.') != std::string::npos) {
        operand.set_immediate(f64_bits(std::atof(text.c_str())));
    } else {
        operand.set_immediate(text[0] == '-' ? static_cast<u64>(std::strtoll(text.c_str(), nullptr, 0))
                                             : std::strtoull(text.c_str(), nullptr, 0));
        return operand;
    }
    operand.is_float = true;
    operand.float_bits = hexadecimal32 ? 32 : 64;
    return operand;
}

/// "[base + offset]"
Operand address(const std::string &text, const RegisterScopes &registers) {
    Operand operand;
    operand.kind = OperandKind::kMemory;
    std::string base = trim(text.substr(1, text.rfind(']') - 1));
    const size_t sign = base.find_first_of("+-", 1);
    if (sign != std::string::npos) {
        std::string offset = trim(base.substr(base[sign] == '+' ? sign + 1 : sign));
        if (!offset.empty() && !is_digit(offset[0]) && offset[0] != '-') {
            throw Error("address operand " + text);
        }
        operand.offset = std::strtoll(offset.c_str(), nullptr, 0);
        base = trim(base.substr(0, sign));
    }
    operand.parts.push_back(parse_operand(base, registers));
    return operand;
}

Operand symbol(const std::string &text) {
    Operand operand;
    operand.kind = OperandKind::kSymbol;
    const size_t offset = text.find_first_of("[+");
    operand.symbol = trim(text.substr(0, offset));
    if (offset != std::string::npos) {
        operand.offset = std::atoll(text.c_str() + offset + 1);
    }
    return operand;
}

}  // namespace

Operand parse_operand(const std::string &untrimmed, const RegisterScopes &registers) {
    const std::string text = trim(untrimmed);
    Operand operand;
    if (text.empty() || text == "_") {
        return operand;
    }
    if (text[0] == '{') {
        operand.kind = OperandKind::kVector;
        for (const std::string &element : split(text.substr(1, text.rfind('}') - 1), ',')) {
            operand.parts.push_back(parse_operand(element, registers));
        }
        return operand;
    }
    if (text[0] == '[') {
        return address(text, registers);
    }
    if (text[0] == '!' || (text[0] == '-' && text.size() > 1 && !is_digit(text[1]))) {
        operand = parse_operand(text.substr(1), registers);
        operand.negated = true;
        return operand;
    }
    const size_t bar = text.find('|');
    if (bar != std::string::npos) {
        operand = parse_operand(text.substr(0, bar), registers);
        operand.parts.push_back(parse_operand(text.substr(bar + 1), registers));
        return operand;
    }
    if (is_digit(text[0]) || text[0] == '-') {
        return literal(text);
    }
    if (text == "WARP_SZ") {
        operand.set_immediate(32);
        return operand;
    }
    operand.reg = registers.find(text);
    if (operand.reg >= 0) {
        operand.kind = OperandKind::kRegister;
        return operand;
    }
    return text[0] == '%' ? special_register(text) : symbol(text);
}

int RegisterScopes::find(const std::string &name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
        const auto found = scope->find(name);
        if (found != scope->end()) {
            return found->second;
        }
    }
    return -1;
}

void RegisterScopes::declare(const std::string &statement, Function &function) {
    const size_t point = statement.find('.', 1);
    const size_t names = statement.find_first_of(" \t", point);
    Type type;
    if (point == std::string::npos || names == std::string::npos ||
        !parse_type(statement.substr(point + 1, names - point - 1), type)) {
        throw Error("register type: " + statement);
    }
    const int rows = type.bits == 128 ? 2 : 1;
    const auto declare = [&](const std::string &name) {
        scopes_.back()[name] = function.registers;
        function.registers += rows;
        function.register_bits.insert(function.register_bits.end(), rows, static_cast<u8>(type.bits));
    };
    for (const std::string &name : split(statement.substr(names), ',')) {
        const size_t count = name.find('<');
        if (count == std::string::npos) {
            declare(name);
            continue;
        }
        const int last = std::atoi(name.c_str() + count + 1);
        for (int i = 0; i < last; i++) {
            declare(name.substr(0, count) + std::to_string(i));
        }
    }
}

}  // namespace cuda_emulator
