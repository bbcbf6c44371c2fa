#pragma once
#include <map>

#include "ptx/instruction.h"

namespace cuda_emulator {

struct Variable {
    std::string name, space;
    int bytes = 0, align = 1;
    std::vector<u8> initial;
    bool is_extern = false;
};

struct Function {
    std::string name;
    std::vector<Variable> parameters, results, variables;
    bool is_entry = true, inlined = false, linked = false;
    std::vector<Instruction> code;
    std::map<std::string, int> labels;
    std::vector<u8> register_bits;  ///< by row; a .b128 register has two rows
    int registers = 0;
    u32 max_threads = 0;      ///< limit of .maxntid or .reqntid, 0 without either
    bool syncs_grid = false;  ///< reads %envreg, as cooperative groups do to synchronise the grid

    // Set by link().
    u32 shared_bytes = 0, local_bytes = 0, parameter_bytes = 0;
    std::vector<u32> parameter_offsets;
};

struct Module {
    /// An initial value that is the address of a variable.
    struct Relocation {
        std::string variable;
        int offset;
        std::string target;
    };

    std::map<std::string, Function> functions;
    std::vector<Variable> variables;
    std::map<std::string, std::vector<std::string>> branch_tables;
    std::map<std::string, u64> addresses;  ///< of .global and .const variables
    std::map<int, std::string> files;      ///< names of source files
    std::vector<Relocation> relocations;
};

/// Parses PTX. Device functions are inlined into their callers, so that no call stack is needed. Unsupported
/// instructions throw Error when they are executed.
std::unique_ptr<Module> parse_module(const std::string &ptx);

/// Inlines direct calls; throws Error for recursion.
void inline_calls(Module &module);

/// Chooses an instruction's handler from its opcode and modifiers.
void decode(Instruction &instruction);
bool is_supported(const Instruction &instruction);

/// Lays out a kernel's shared, local and parameter memory and resolves its symbols; does nothing the second time.
void link(Module &module, Function &function);

/// "kernel 'k', PTX line 12 (file.cu:34): text"
std::string position(const Module &module, const Function &function, const Instruction &instruction);

}  // namespace cuda_emulator
