#include <algorithm>
#include <set>

#include "memory/address_space.h"
#include "ptx/module.h"

namespace cuda_emulator {
namespace {

u32 align_up(u32 offset, u32 alignment) {
    return (offset + alignment - 1) / alignment * alignment;
}

class Linker {
  public:
    Linker(Module &module, Function &function) : module_(module), function_(function), addresses_(module.addresses) {}

    void link();

  private:
    void find_used(const Operand &operand);
    void lay_out(const Variable &variable);
    void lay_out_variables();
    void lay_out_parameters();
    void resolve(Operand &operand, Instruction &instruction);

    Module &module_;
    Function &function_;
    std::map<std::string, u64> addresses_;
    std::map<std::string, u32> local_offsets_;
    std::set<std::string> used_;
    std::vector<const Variable *> dynamic_;
    u32 shared_ = 0, local_ = 0;
};

void Linker::find_used(const Operand &operand) {
    if (operand.is(OperandKind::kSymbol)) {
        used_.insert(operand.symbol);
    }
    for (const Operand &part : operand.parts) {
        find_used(part);
    }
}

void Linker::lay_out(const Variable &variable) {
    if (variable.space == "shared" && variable.is_extern && variable.bytes == 0) {
        dynamic_.push_back(&variable);
    } else if (variable.space == "shared") {
        shared_ = align_up(shared_, variable.align);
        addresses_[variable.name] = memory::shared_base() + shared_;
        shared_ += variable.bytes;
    } else if (variable.space == "local") {
        local_ = align_up(local_, variable.align);
        local_offsets_[variable.name] = local_;
        local_ += variable.bytes;
    }
}

void Linker::lay_out_variables() {
    for (const Instruction &instruction : function_.code) {
        for (const Operand &operand : instruction.operands) {
            find_used(operand);
        }
        used_.insert(instruction.call_arguments.begin(), instruction.call_arguments.end());
        used_.insert(instruction.call_results.begin(), instruction.call_results.end());
    }
    for (const Variable &variable : module_.variables) {
        if (used_.count(variable.name)) {  // variables of other kernels need no space
            lay_out(variable);
        }
    }
    for (const Variable &variable : function_.variables) {
        lay_out(variable);
    }
    // Dynamic shared memory begins behind the static, aligned as its declarations ask. The gap counts as static, so
    // that all of the dynamic bytes exist.
    int alignment = 16;
    for (const Variable *variable : dynamic_) {
        alignment = std::max(alignment, variable->align);
    }
    shared_ = align_up(shared_, alignment);
    for (const Variable *variable : dynamic_) {
        addresses_[variable->name] = memory::shared_base() + shared_;
    }
    function_.shared_bytes = shared_;
    function_.local_bytes = align_up(local_, 16);
}

void Linker::lay_out_parameters() {
    u32 offset = 0;
    for (const Variable &parameter : function_.parameters) {
        offset = align_up(offset, parameter.align);
        function_.parameter_offsets.push_back(offset);
        if (function_.is_entry) {
            addresses_[parameter.name] = memory::parameter_base() + offset;
        }
        offset += std::max(parameter.bytes, 1);
    }
    function_.parameter_bytes = offset;
}

void Linker::resolve(Operand &operand, Instruction &instruction) {
    if (operand.is(OperandKind::kSymbol)) {
        const auto local = local_offsets_.find(operand.symbol);
        const auto address = addresses_.find(operand.symbol);
        if (local != local_offsets_.end()) {
            operand.kind = OperandKind::kLocal;
            operand.immediate = local->second + operand.offset;
            operand.offset = 0;
            instruction.is_call_argument |= instruction.space == Space::kParameter;
        } else if (address != addresses_.end()) {
            operand.set_immediate(address->second + operand.offset);
            operand.offset = 0;
        } else if (module_.functions.count(operand.symbol)) {
            instruction.refusal = "address of function " + operand.symbol;
        }
    }
    for (Operand &part : operand.parts) {
        resolve(part, instruction);
    }
}

void Linker::link() {
    lay_out_variables();
    lay_out_parameters();
    for (Instruction &instruction : function_.code) {
        if (instruction.control == Control::kBranch || instruction.control == Control::kBranchTable) {
            continue;  // symbols of branches are labels
        }
        for (const auto *names : {&instruction.call_arguments, &instruction.call_results}) {
            for (const std::string &name : *names) {
                Operand operand;
                operand.kind = OperandKind::kSymbol;
                operand.symbol = name;
                instruction.operands.push_back(operand);
            }
        }
        for (Operand &operand : instruction.operands) {
            resolve(operand, instruction);
        }
        if (!instruction.refusal.empty()) {
            decode(instruction);
        }
    }
}

}  // namespace

void link(Module &module, Function &function) {
    if (!function.linked) {
        function.linked = true;
        Linker(module, function).link();
    }
}

std::string position(const Module &module, const Function &function, const Instruction &instruction) {
    std::string text = "kernel '" + function.name + "', PTX line " + std::to_string(instruction.line);
    if (instruction.source_line) {
        const auto file = module.files.find(instruction.source_file);
        const std::string path = file == module.files.end() ? "source" : file->second;
        text += " (" + path.substr(path.rfind('/') + 1) + ":" + std::to_string(instruction.source_line) + ")";
    }
    return text + ": " + instruction.text;
}

}  // namespace cuda_emulator
