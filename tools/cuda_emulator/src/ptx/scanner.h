#pragma once
#include <string>
#include <vector>

namespace cuda_emulator {

std::string trim(const std::string &text);

/// Splits at separators outside of brackets and quotes; trims the pieces.
std::vector<std::string> split(const std::string &text, char separator);

bool is_identifier_character(char c);

/// Reads PTX sequentially, skips comments, and counts lines.
class Scanner {
  public:
    explicit Scanner(const std::string &text);

    bool at_end() const { return position_ >= text_.size(); }
    char peek() const { return text_[position_]; }
    bool starts_with(const char *prefix) const;
    int line() const { return line_; }

    /// The text up to the next blank, or up to the end of the line; does not consume it.
    std::string word() const;
    std::string rest_of_line() const;

    /// A place to return to.
    struct Place {
        size_t position;
        int line;
    };
    Place place() const { return {position_, line_}; }
    void return_to(Place place) {
        position_ = place.position;
        line_ = place.line;
    }

    void skip(size_t characters = 1);
    void skip_space();
    void skip_line();
    void skip_braces();  ///< up to the end of the next { ... }
    /// Reads up to one of the characters, outside of braces and quotes.
    std::string until(const char *stops);
    /// Reads "name:"; false if the next text is something else.
    bool label(std::string &name);

  private:
    std::string text_;
    size_t position_ = 0;
    int line_ = 1;
};

}  // namespace cuda_emulator
