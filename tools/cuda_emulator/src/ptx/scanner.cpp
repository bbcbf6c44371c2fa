#include "ptx/scanner.h"

#include <algorithm>
#include <cctype>
#include <cstring>

namespace cuda_emulator {
namespace {

bool is_space(char c) {
    return std::isspace(static_cast<unsigned char>(c));
}

std::string without_comments(const std::string &text) {
    std::string result;
    size_t i = 0;
    while (i < text.size()) {
        if (text[i] != '/') {
            const size_t end = std::min(text.find('/', i), text.size());
            result.append(text, i, end - i);
            i = end;
        } else if (text.compare(i, 2, "//") == 0) {
            i = std::min(text.find('\n', i), text.size());
        } else if (text.compare(i, 2, "/*") == 0) {
            const size_t end = std::min(text.find("*/", i + 2), text.size());
            result.append(std::count(text.begin() + i, text.begin() + end, '\n'), '\n');
            i = end + 2;
        } else {
            result += text[i++];
        }
    }
    return result;
}

}  // namespace

std::string trim(const std::string &text) {
    const char *blanks = " \t\r\n";
    const size_t first = text.find_first_not_of(blanks);
    return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::vector<std::string> split(const std::string &text, char separator) {
    std::vector<std::string> pieces;
    std::string piece;
    int depth = 0;
    bool quoted = false;
    for (char c : text) {
        quoted ^= c == '"';
        if (!quoted) {
            depth += c == '[' || c == '{' || c == '(';
            depth -= c == ']' || c == '}' || c == ')';
        }
        if (c == separator && depth == 0 && !quoted) {
            pieces.push_back(trim(piece));
            piece.clear();
        } else {
            piece += c;
        }
    }
    if (!trim(piece).empty()) {
        pieces.push_back(trim(piece));
    }
    return pieces;
}

bool is_identifier_character(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%';
}

Scanner::Scanner(const std::string &text) : text_(without_comments(text)) {}

bool Scanner::starts_with(const char *prefix) const {
    return text_.compare(position_, std::strlen(prefix), prefix) == 0;
}

std::string Scanner::word() const {
    size_t end = position_;
    while (end < text_.size() && !is_space(text_[end])) {
        end++;
    }
    return text_.substr(position_, end - position_);
}

std::string Scanner::rest_of_line() const {
    return text_.substr(position_, text_.find('\n', position_) - position_);
}

void Scanner::skip(size_t characters) {
    for (; characters > 0 && !at_end(); characters--) {
        line_ += text_[position_++] == '\n';
    }
}

void Scanner::skip_space() {
    while (!at_end() && is_space(peek())) {
        skip();
    }
}

void Scanner::skip_line() {
    while (!at_end() && peek() != '\n') {
        skip();
    }
}

void Scanner::skip_braces() {
    while (!at_end() && peek() != '{') {
        skip();
    }
    int depth = 0;
    do {
        depth += peek() == '{';
        depth -= peek() == '}';
        skip();
    } while (depth > 0 && !at_end());
}

std::string Scanner::until(const char *stops) {
    const size_t start = position_;
    bool quoted = false;
    int depth = 0;
    while (!at_end()) {
        const char c = peek();
        quoted ^= c == '"';
        if (!quoted && depth == 0 && std::strchr(stops, c)) {
            break;
        }
        if (!quoted) {
            depth += c == '{';
            depth -= c == '}';
        }
        skip();
    }
    return text_.substr(start, position_ - start);
}

bool Scanner::label(std::string &name) {
    size_t end = position_;
    while (end < text_.size() && is_identifier_character(text_[end])) {
        end++;
    }
    size_t colon = end;
    while (colon < text_.size() && is_space(text_[colon])) {
        colon++;
    }
    if (end == position_ || colon >= text_.size() || text_[colon] != ':' || text_[colon + 1] == ':') {
        return false;
    }
    name = text_.substr(position_, end - position_);
    skip(colon + 1 - position_);
    skip_space();
    return true;
}

}  // namespace cuda_emulator
