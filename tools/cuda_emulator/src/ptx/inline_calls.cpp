#include "ptx/module.h"

namespace cuda_emulator {
namespace {

class Inliner {
  public:
    explicit Inliner(Module &module) : module_(module) {}

    void inline_into(Function &caller, int depth);

  private:
    using Names = std::map<std::string, std::string>;

    Names adopt_variables(Function &caller, const Function &callee, const Instruction &call);
    std::vector<Instruction> body(const Function &callee, const Instruction &call, const Names &names,
                                  int first_register, int start);

    Module &module_;
    int inlined_ = 0;
};

// Calls of functions without PTX; the emulator implements them.
bool is_runtime_function(const std::string &name) {
    return name == "vprintf" || name == "__assertfail";
}

void Inliner::inline_into(Function &caller, int depth) {
    constexpr int kDeepest = 20;
    if (caller.inlined) {
        return;
    }
    if (depth > kDeepest) {
        throw Error("recursive call in " + caller.name);
    }
    for (size_t i = 0; i < caller.code.size(); i++) {
        const Instruction call = caller.code[i];
        if (call.opcode != "call" || !call.refusal.empty() || is_runtime_function(call.callee)) {
            continue;
        }
        const auto found = module_.functions.find(call.callee);
        if (found == module_.functions.end()) {
            caller.code[i].refusal = "call to unknown function " + call.callee;
            continue;
        }
        Function &callee = found->second;
        inline_into(callee, depth + 1);

        const int first_register = caller.registers;
        caller.registers += callee.registers;
        caller.register_bits.insert(caller.register_bits.end(), callee.register_bits.begin(),
                                    callee.register_bits.end());
        caller.syncs_grid |= callee.syncs_grid;
        const Names names = adopt_variables(caller, callee, call);
        const int start = static_cast<int>(i);
        const std::vector<Instruction> inserted = body(callee, call, names, first_register, start);

        const int growth = static_cast<int>(inserted.size()) - 1;
        const auto move = [&](int &target) { target += target > start ? growth : 0; };
        for (Instruction &instruction : caller.code) {
            move(instruction.target);
            for (int &target : instruction.targets) {
                move(target);
            }
        }
        caller.code.erase(caller.code.begin() + start);
        caller.code.insert(caller.code.begin() + start, inserted.begin(), inserted.end());
        i += inserted.size() - 1;
    }
    caller.inlined = true;
}

/// Renames the callee's local variables; its parameters and results become variables of the caller.
Inliner::Names Inliner::adopt_variables(Function &caller, const Function &callee, const Instruction &call) {
    Names names;
    const auto bind = [&](const std::vector<Variable> &formal, const std::vector<std::string> &actual) {
        for (size_t i = 0; i < formal.size() && i < actual.size(); i++) {
            names[formal[i].name] = actual[i];
        }
    };
    bind(callee.parameters, call.call_arguments);
    bind(callee.results, call.call_results);
    const std::string prefix = "inlined" + std::to_string(inlined_++) + "$";
    for (Variable variable : callee.variables) {
        if (variable.space == "local") {
            names[variable.name] = prefix + variable.name;
            variable.name = prefix + variable.name;
            caller.variables.push_back(variable);
            continue;
        }
        bool known = false;
        for (const Variable &other : caller.variables) {
            known |= other.name == variable.name;
        }
        if (!known) {
            caller.variables.push_back(variable);
        }
    }
    return names;
}

void rename(std::string &name, const std::map<std::string, std::string> &names) {
    const auto found = names.find(name);
    if (found != names.end()) {
        name = found->second;
    }
}

void rebase(Operand &operand, int first_register, const std::map<std::string, std::string> &names) {
    if (operand.is(OperandKind::kRegister)) {
        operand.reg += first_register;
    } else if (operand.is(OperandKind::kSymbol)) {
        rename(operand.symbol, names);
    }
    for (Operand &part : operand.parts) {
        rebase(part, first_register, names);
    }
}

/// The callee's code for insertion into the caller at `start`: a return becomes a branch to its end.
std::vector<Instruction> Inliner::body(const Function &callee, const Instruction &call, const Names &names,
                                       int first_register, int start) {
    std::vector<Instruction> code;
    if (call.guard >= 0) {
        Instruction skip;
        skip.opcode = "bra";
        skip.text = call.text;
        skip.line = call.line;
        skip.guard = call.guard;
        skip.guard_negated = !call.guard_negated;
        code.push_back(skip);
    }
    const int offset = start + static_cast<int>(code.size());
    const int end = offset + static_cast<int>(callee.code.size());
    if (!code.empty()) {
        code[0].target = end;
    }
    for (Instruction instruction : callee.code) {
        for (Operand &operand : instruction.operands) {
            rebase(operand, first_register, names);
        }
        for (auto *list : {&instruction.call_arguments, &instruction.call_results}) {
            for (std::string &name : *list) {
                rename(name, names);
            }
        }
        instruction.guard += instruction.guard >= 0 ? first_register : 0;
        instruction.target += instruction.target >= 0 ? offset : 0;
        for (int &target : instruction.targets) {
            target += offset;
        }
        if (instruction.opcode == "ret") {
            instruction.opcode = "bra";
            instruction.modifiers.clear();
            instruction.target = end;
        }
        code.push_back(instruction);
    }
    return code;
}

}  // namespace

void inline_calls(Module &module) {
    Inliner inliner(module);
    for (auto &[name, function] : module.functions) {
        inliner.inline_into(function, 0);
    }
}

}  // namespace cuda_emulator
