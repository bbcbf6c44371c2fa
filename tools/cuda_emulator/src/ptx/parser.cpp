#include <algorithm>
#include <cstring>

#include "memory/address_space.h"
#include "ptx/parse.h"
#include "ptx/scanner.h"

namespace cuda_emulator {
namespace {

class Parser {
  public:
    Parser(const std::string &text, Module &module) : scanner_(text), module_(module) {}

    void parse();

  private:
    void parse_function(const std::string &head);
    void parse_body();
    void parse_label(const std::string &label);
    void parse_statement(const std::string &statement, int line);
    void declare_in_function(const std::string &statement);
    void parse_file_directive();
    void resolve_branches();

    Scanner scanner_;
    Module &module_;
    Function *function_ = nullptr;  // the function whose body is being parsed
    RegisterScopes registers_;
    int source_file_ = 0, source_line_ = 0;
};

void Parser::parse() {
    for (scanner_.skip_space(); !scanner_.at_end(); scanner_.skip_space()) {
        const std::string directive = scanner_.word();
        if (directive[0] != '.') {
            throw Error("PTX syntax error at line " + std::to_string(scanner_.line()) + ": " + scanner_.rest_of_line());
        }
        if (directive == ".version" || directive == ".target" || directive == ".address_size") {
            scanner_.skip_line();
        } else if (directive == ".file") {
            parse_file_directive();
        } else if (directive == ".section") {
            scanner_.skip_braces();
        } else {
            const Scanner::Place start = scanner_.place();
            const std::string head = scanner_.until("{;");
            if (head.find(".entry") != std::string::npos || head.find(".func") != std::string::npos) {
                parse_function(head);
                continue;
            }
            scanner_.return_to(start);  // braces may belong to the variable's value
            const Variable variable = parse_declaration(trim(scanner_.until(";")), module_);
            scanner_.skip();
            if (!variable.space.empty()) {
                module_.variables.push_back(variable);
            }
        }
    }
}

void Parser::parse_file_directive() {  // .file 1 "name"
    const std::string directive = scanner_.rest_of_line();
    const size_t first = directive.find('"'), last = directive.rfind('"');
    if (first != std::string::npos && last > first) {
        module_.files[std::atoi(directive.c_str() + std::strlen(".file"))] =
            directive.substr(first + 1, last - first - 1);
    }
    scanner_.skip_line();
}

/// ".maxntid 128, 1, 1": the product.
u32 threads_of(const std::string &directives, const char *name) {
    const size_t start = directives.find(name);
    if (start == std::string::npos) {
        return 0;
    }
    u32 product = 1;
    const std::string list = directives.substr(start + std::strlen(name));
    for (const std::string &number : split(list.substr(0, list.find('.')), ',')) {
        product *= static_cast<u32>(std::strtoul(number.c_str(), nullptr, 10));
    }
    return product;
}

void Parser::parse_function(const std::string &head) {
    if (scanner_.peek() == ';') {  // a prototype
        scanner_.skip();
        return;
    }
    Function function;
    function.is_entry = head.find(".entry") != std::string::npos;
    const char *keyword = function.is_entry ? ".entry" : ".func";
    std::string rest = trim(head.substr(head.find(keyword) + std::strlen(keyword)));
    const auto declare_all = [&](const std::string &list, std::vector<Variable> &variables) {
        for (const std::string &declaration : split(list, ',')) {
            variables.push_back(parse_declaration(declaration, module_));
        }
    };
    if (rest[0] == '(') {
        const size_t end = rest.find(')');
        declare_all(rest.substr(1, end - 1), function.results);
        rest = trim(rest.substr(end + 1));
    }
    function.name = rest.substr(0, std::find_if_not(rest.begin(), rest.end(), is_identifier_character) - rest.begin());
    const size_t open = rest.find('(');
    std::string directives = rest.substr(function.name.size());
    if (open != std::string::npos) {
        const size_t close = rest.find(')', open);
        declare_all(rest.substr(open + 1, close - open - 1), function.parameters);
        directives = rest.substr(close);
    }
    function.max_threads = std::max(threads_of(directives, ".maxntid"), threads_of(directives, ".reqntid"));

    function_ = &(module_.functions[function.name] = function);
    try {
        parse_body();
    } catch (const Error &error) {
        throw Error(function.name + ", PTX line " + std::to_string(scanner_.line()) + ": " + error.what());
    }
}

void Parser::parse_body() {
    scanner_.skip();
    registers_.clear();
    source_line_ = 0;
    for (int depth = 1; depth > 0;) {
        scanner_.skip_space();
        if (scanner_.at_end()) {
            throw Error("unexpected end of PTX");
        }
        const int line = scanner_.line();
        std::string name;
        if (scanner_.peek() == '{') {
            scanner_.skip();
            registers_.open();
            depth++;
        } else if (scanner_.peek() == '}') {
            scanner_.skip();
            registers_.close();
            depth--;
        } else if (scanner_.label(name)) {
            parse_label(name);
        } else if (scanner_.starts_with(".loc ") || scanner_.starts_with(".loc\t")) {
            std::sscanf(scanner_.rest_of_line().c_str(), ".loc %d %d", &source_file_, &source_line_);
            scanner_.skip_line();
        } else if (scanner_.starts_with(".file")) {
            parse_file_directive();
        } else {
            std::string statement = trim(scanner_.until(";"));
            scanner_.skip();
            std::replace_if(statement.begin(), statement.end(), [](char c) { return c == '\n' || c == '\t'; }, ' ');
            if (!statement.empty()) {
                parse_statement(statement, line);
            }
        }
    }
    resolve_branches();
}

void Parser::parse_label(const std::string &label) {
    if (scanner_.starts_with(".branchtargets")) {
        const std::string list = scanner_.until(";").substr(std::strlen(".branchtargets"));
        module_.branch_tables[function_->name + "/" + label] = split(list, ',');
        scanner_.skip();
    } else if (scanner_.starts_with(".callprototype")) {
        scanner_.until(";");
        scanner_.skip();
    } else {
        function_->labels[label] = static_cast<int>(function_->code.size());
    }
}

void Parser::parse_statement(const std::string &statement, int line) {
    if (statement.rfind(".reg", 0) == 0) {
        registers_.declare(statement, *function_);
    } else if (statement.rfind(".pragma", 0) == 0 || statement.rfind(".maxn", 0) == 0) {
        return;
    } else if (statement[0] == '.') {
        declare_in_function(statement);
    } else {
        Instruction instruction = parse_instruction(statement, registers_);
        instruction.line = line;
        instruction.source_file = source_file_;
        instruction.source_line = source_line_;
        for (const Operand &operand : instruction.operands) {
            function_->syncs_grid |= operand.is(OperandKind::kSpecialRegister) && operand.reg == kEnvironment;
        }
        function_->code.push_back(std::move(instruction));
    }
}

void Parser::declare_in_function(const std::string &statement) {
    Variable variable = parse_declaration(statement, module_);
    if (variable.space == "param") {  // an argument of a call, which is local memory of the caller after inlining
        variable.space = "local";
        variable.align = std::max(variable.align, 16);
        for (Variable &other : function_->variables) {
            if (other.name == variable.name &&
                other.space == "local") {  // an argument of another call, in another { } block
                other.bytes = std::max(other.bytes, variable.bytes);
                return;
            }
        }
    }
    function_->variables.push_back(variable);
}

void Parser::resolve_branches() {
    for (Instruction &instruction : function_->code) {
        if (instruction.opcode == "bra") {
            const std::string label = instruction.operands.empty() ? "" : instruction.operands.back().symbol;
            const auto found = function_->labels.find(label);
            if (found == function_->labels.end()) {
                throw Error("unknown label: " + instruction.text);
            }
            instruction.target = found->second;
        } else if (instruction.opcode == "brx" && instruction.operands.size() > 1) {
            for (const std::string &label :
                 module_.branch_tables[function_->name + "/" + instruction.operands[1].symbol]) {
                instruction.targets.push_back(function_->labels.at(label));
            }
        }
    }
}

void allocate_variables(Module &module) {
    for (const Variable &variable : module.variables) {
        if (variable.space == "global" || variable.space == "const") {
            const u64 address = memory::allocate(std::max(variable.bytes, 1), 0);
            std::memcpy(reinterpret_cast<void *>(address), variable.initial.data(), variable.initial.size());
            module.addresses[variable.name] = address;
        }
    }
    for (const Module::Relocation &relocation : module.relocations) {
        std::string target = relocation.target;
        const std::string generic = "generic(";
        const size_t start = target.find(generic);
        if (start != std::string::npos) {
            const size_t name = start + generic.size();
            target = target.substr(name, target.find(')') - name);
        }
        const auto found = module.addresses.find(target);
        const auto variable = module.addresses.find(relocation.variable);
        if (found != module.addresses.end() && variable != module.addresses.end()) {
            std::memcpy(reinterpret_cast<void *>(variable->second + relocation.offset), &found->second, sizeof(u64));
        }
    }
}

}  // namespace

std::unique_ptr<Module> parse_module(const std::string &ptx) {
    auto module = std::make_unique<Module>();
    Parser(ptx, *module).parse();
    inline_calls(*module);
    for (auto &[name, function] : module->functions) {
        for (Instruction &instruction : function.code) {
            decode(instruction);
        }
    }
    allocate_variables(*module);
    return module;
}

}  // namespace cuda_emulator
