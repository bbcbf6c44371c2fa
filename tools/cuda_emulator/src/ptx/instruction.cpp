#include <cctype>

#include "ptx/parse.h"
#include "ptx/scanner.h"

namespace cuda_emulator {
namespace {

/// "(a, b)" or "a"
std::vector<std::string> names(const std::string &text) {
    const bool bracketed = !text.empty() && text[0] == '(';
    return split(bracketed ? trim(text.substr(1, text.rfind(')') - 1)) : text, ',');
}

/// "(result), function, (arguments)"; result and arguments are optional.
void parse_call(Instruction &instruction, const std::string &text) {
    const std::vector<std::string> pieces = split(text, ',');
    size_t next = 0;
    if (!pieces.empty() && pieces[0][0] == '(') {
        instruction.call_results = names(pieces[next++]);
    }
    if (next < pieces.size()) {
        instruction.callee = pieces[next++];
    }
    if (next < pieces.size()) {
        instruction.call_arguments = names(pieces[next]);
    }
    if (!instruction.callee.empty() && instruction.callee[0] == '%') {
        instruction.refusal = "indirect call";
    }
}

}  // namespace

Instruction parse_instruction(const std::string &statement, const RegisterScopes &registers) {
    Instruction instruction;
    instruction.text = statement;
    std::string rest = statement;
    if (rest[0] == '@') {
        const size_t end = rest.find_first_of(" \t");
        instruction.guard_negated = rest[1] == '!';
        const size_t start = instruction.guard_negated ? 2 : 1;
        instruction.guard = registers.find(rest.substr(start, end - start));
        if (instruction.guard < 0) {
            throw Error("unknown predicate: " + statement);
        }
        rest = trim(rest.substr(end));
    }
    size_t end = 0;
    while (end < rest.size() && (std::isalnum(static_cast<unsigned char>(rest[end])) || rest[end] == '.' ||
                                 rest[end] == '_' || rest[end] == ':')) {
        end++;
    }
    const std::vector<std::string> mnemonic = split(rest.substr(0, end), '.');
    instruction.opcode = mnemonic[0];
    instruction.modifiers.assign(mnemonic.begin() + 1, mnemonic.end());
    for (const std::string &modifier : instruction.modifiers) {
        Type type;
        if (parse_type(modifier, type)) {
            instruction.types.push_back(type);
        }
    }
    try {
        if (instruction.opcode == "call") {
            parse_call(instruction, rest.substr(end));
        } else {
            for (const std::string &operand : split(rest.substr(end), ',')) {
                instruction.operands.push_back(parse_operand(operand, registers));
            }
        }
    } catch (const Error &error) {
        instruction.refusal = error.what();
    }
    return instruction;
}

}  // namespace cuda_emulator
