#pragma once
#include "ptx/module.h"

// The parts of parse_module(), one for each kind of statement. They throw Error for syntax that they cannot parse.

namespace cuda_emulator {

/// Parses ".global .align 4 .b8 name[16] = {1, 2}" and the like; addresses in the value become relocations.
Variable parse_declaration(const std::string &statement, Module &module);

/// The registers, by name, of nested { } blocks.
class RegisterScopes {
  public:
    void clear() { scopes_.assign(1, {}); }
    void open() { scopes_.emplace_back(); }
    void close() { scopes_.pop_back(); }
    int find(const std::string &name) const;  ///< register row, or -1
    /// ".reg .b32 %r<10>" or ".reg .pred p, q"
    void declare(const std::string &statement, Function &function);

  private:
    std::vector<std::map<std::string, int>> scopes_;
};

Operand parse_operand(const std::string &text, const RegisterScopes &registers);

/// Parses "@p add.s32 a, b, c". An instruction with an unknown form of operand throws when it is executed.
Instruction parse_instruction(const std::string &statement, const RegisterScopes &registers);

}  // namespace cuda_emulator
