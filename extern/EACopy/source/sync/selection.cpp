// Which names of a tree a sync is about; see selection.h.

#include "selection.h"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace eacopy {
namespace {

#ifdef _WIN32
struct Named {
  char letter;
  uint32_t bit;  // FILE_ATTRIBUTE_…
};
constexpr Named kNamed[] = {{'R', 0x1},   {'H', 0x2},    {'S', 0x4},    {'A', 0x20},  {'T', 0x100},
                            {'C', 0x800}, {'O', 0x1000}, {'N', 0x2000}, {'E', 0x4000}};
constexpr char kAttributes[] = "RHSATCONE";
#else
constexpr char kAttributes[] = "RH";
constexpr uint32_t kOwnerMayWrite = 0200;
#endif

// Names of Windows may have surrogates that stand alone, which are characters then.
constexpr bool kLoneSurrogates = platform::kSeparator == '\\';

// The length of the character at `text`: a whole one of UTF-8 (RFC 3629), or one byte that is none.
size_t CharacterLength(const char* text) {
  const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  size_t length = 1;
  unsigned char low = 0x80, high = 0xbf;  // of the second byte
  if (first >= 0xc2 && first <= 0xdf) {
    length = 2;
  } else if (first >= 0xe0 && first <= 0xef) {
    length = 3;
    if (first == 0xe0) low = 0xa0;
    if (first == 0xed && !kLoneSurrogates) high = 0x9f;
  } else if (first >= 0xf0 && first <= 0xf4) {
    length = 4;
    if (first == 0xf0) low = 0x90;
    if (first == 0xf4) high = 0x8f;
  }
  for (size_t i = 1; i < length; ++i) {
    if (byte(i) < (i == 1 ? low : 0x80) || byte(i) > (i == 1 ? high : 0xbf)) return 1;
  }
  return length;
}

// The length of the character that both begin with; 0: they differ.
size_t CommonLength(const char* pattern, const char* text) {
  if (*pattern != *text) return 0;
  if (static_cast<unsigned char>(*text) < 0x80) return 1;
  const size_t length = CharacterLength(text);
  return CharacterLength(pattern) == length && std::memcmp(pattern, text, length) == 0 ? length : 0;
}

bool MatchOne(const char* pattern, const char* text) {
  // Where the last star was, and what of the text came after what it stands for.
  const char* star = nullptr;
  const char* after = nullptr;
  while (*text != '\0') {
    if (*pattern == '*') {
      star = ++pattern;
      after = text;
    } else if (*pattern == '?') {
      ++pattern;
      text += CharacterLength(text);
    } else if (const size_t length = CommonLength(pattern, text)) {
      pattern += length;
      text += length;
    } else if (star != nullptr) {
      after += CharacterLength(after);
      pattern = star;
      text = after;
    } else {
      return false;
    }
  }
  while (*pattern == '*') ++pattern;
  return *pattern == '\0';
}

bool Has(char attribute, const char* name, const platform::FileInfo& info) {
#ifdef _WIN32
  (void)name;
  return std::any_of(std::begin(kNamed), std::end(kNamed),
                     [&](const Named& named) { return named.letter == attribute && (info.mode & named.bit) != 0; });
#else
  return attribute == 'H' ? name[0] == '.' : (info.mode & kOwnerMayWrite) == 0;
#endif
}

}  // namespace

Patterns::Patterns(const std::vector<std::string>& patterns) {
  for (const std::string& as_given : patterns) {
    const std::string pattern = platform::FoldCase(as_given);
    if (pattern.find('/') == std::string::npos) {
      of_names_.push_back(pattern);
    } else {
      of_paths_.push_back(pattern[0] == '/' ? pattern.substr(1) : pattern);
    }
  }
}

bool Patterns::Match(const char* given_name, const Where& where) const {
  if (empty()) return false;
  std::string folded;
  const char* name = given_name;
  if constexpr (!platform::kCaseCounts) {
    folded = platform::FoldCase(given_name);
    name = folded.c_str();
  }
  for (const std::string& pattern : of_names_) {
    if (MatchOne(pattern.c_str(), name)) return true;
  }
  if (of_paths_.empty()) return false;
  const std::string path = (platform::kCaseCounts ? where() : platform::FoldCase(where())) + name;
  return std::any_of(of_paths_.begin(), of_paths_.end(),
                     [&path](const std::string& pattern) { return MatchOne(pattern.c_str(), path.c_str()); });
}

Selection::Selection(const Sync& sync)
    : files_(sync.files),
      exclude_files_(sync.exclude_files),
      exclude_directories_(sync.exclude_dirs),
      included_(sync.include_attributes),
      excluded_(sync.exclude_attributes),
      all_files_(std::find(sync.files.begin(), sync.files.end(), "*") != sync.files.end()),
      all_names_(all_files_ && exclude_files_.empty() && exclude_directories_.empty()) {}

bool Selection::HasAttributes(const char* name, const platform::FileInfo& info) const {
  const auto has = [&](char attribute) { return Has(attribute, name, info); };
  if (!included_.empty() && std::none_of(included_.begin(), included_.end(), has)) return false;
  return std::none_of(excluded_.begin(), excluded_.end(), has);
}

char Selection::UnknownAttribute(const Sync& sync) {
  for (const char attribute : sync.include_attributes + sync.exclude_attributes) {
    if (std::strchr(kAttributes, attribute) == nullptr) return attribute;
  }
  return 0;
}

}  // namespace eacopy
