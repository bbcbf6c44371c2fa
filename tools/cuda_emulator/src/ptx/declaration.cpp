#include <algorithm>
#include <cctype>
#include <cstring>
#include <sstream>

#include "ptx/parse.h"
#include "ptx/scanner.h"

namespace cuda_emulator {
namespace {

u64 initial_value(const std::string &text) {
    if (text.size() > 1 && text[0] == '0' && std::strchr("fFdD", text[1])) {
        return std::strtoull(text.c_str() + 2, nullptr, 16);
    }
    return text[0] == '-' ? static_cast<u64>(std::strtoll(text.c_str(), nullptr, 0))
                          : std::strtoull(text.c_str(), nullptr, 0);
}

/// Sets the bytes of "{1, {2, 3}, other_variable}".
void initialise(Variable &variable, int element_bytes, std::string text, Module &module) {
    variable.initial.assign(variable.bytes, 0);
    text.erase(std::remove_if(text.begin(), text.end(), [](char c) { return c == '{' || c == '}'; }), text.end());
    int offset = 0;
    for (const std::string &element : split(text, ',')) {
        if (std::isdigit(static_cast<unsigned char>(element[0])) || element[0] == '-') {
            const u64 value = initial_value(element);
            if (offset + element_bytes <= variable.bytes) {
                std::memcpy(&variable.initial[offset], &value, std::min(element_bytes, 8));
            }
        } else {
            module.relocations.push_back({variable.name, offset, element});
        }
        offset += element_bytes;
    }
}

}  // namespace

Variable parse_declaration(const std::string &statement, Module &module) {
    const size_t equals = statement.find('=');
    std::string head = trim(statement.substr(0, equals));
    const size_t bracket = head.find('[');
    const std::string dimensions = bracket == std::string::npos ? "" : head.substr(bracket);
    head = trim(head.substr(0, bracket));

    Variable variable;
    int element_bytes = 1;
    std::istringstream words(head);
    for (std::string word; words >> word;) {
        Type type;
        if (word == ".align") {
            words >> variable.align;
        } else if (word == ".extern") {
            variable.is_extern = true;
        } else if (word == ".shared" || word == ".global" || word == ".const" || word == ".local" || word == ".param") {
            variable.space = word.substr(1);
        } else if (word[0] != '.') {
            variable.name = word;
        } else if (parse_type(word.substr(1), type)) {
            element_bytes = type.bytes();
        }
    }
    s64 elements = 1;
    for (size_t open = dimensions.find('['); open != std::string::npos; open = dimensions.find('[', open + 1)) {
        // An extern array without a size has size 0 here; the launch gives its size.
        elements *= std::atoll(dimensions.c_str() + open + 1);
    }
    variable.align = std::max(variable.align, element_bytes);
    variable.bytes = static_cast<int>(elements * element_bytes);
    if (equals != std::string::npos) {
        initialise(variable, element_bytes, trim(statement.substr(equals + 1)), module);
    }
    return variable;
}

}  // namespace cuda_emulator
