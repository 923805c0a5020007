// WTF-8 and UTF-16; see wtf8.h.

#include "wtf8.h"

#include <cstdint>

namespace eacopy {
namespace platform {
namespace {

bool IsHighSurrogate(uint32_t unit) { return unit >= 0xD800 && unit <= 0xDBFF; }
bool IsLowSurrogate(uint32_t unit) { return unit >= 0xDC00 && unit <= 0xDFFF; }

// How many continuation bytes follow a first byte, and the least value that needs so many. False for a byte that cannot
// be the first.
bool ReadFirstByte(uint8_t byte, uint32_t* value, size_t* more, uint32_t* least) {
  if (byte < 0x80) {
    *value = byte;
    *more = 0;
    *least = 0;
  } else if ((byte & 0xE0) == 0xC0) {
    *value = byte & 0x1Fu;
    *more = 1;
    *least = 0x80;
  } else if ((byte & 0xF0) == 0xE0) {
    *value = byte & 0x0Fu;
    *more = 2;
    *least = 0x800;
  } else if ((byte & 0xF8) == 0xF0) {
    *value = byte & 0x07u;
    *more = 3;
    *least = 0x10000;
  } else {
    return false;
  }
  return true;
}

}  // namespace

bool AppendWide(const char* text, size_t length, std::wstring* out) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text);
  out->reserve(out->size() + length);
  for (size_t i = 0; i < length;) {
    uint32_t value = 0;
    size_t more = 0;
    uint32_t least = 0;
    if (!ReadFirstByte(bytes[i], &value, &more, &least) || more >= length - i) return false;
    for (size_t k = 1; k <= more; ++k) {
      if ((bytes[i + k] & 0xC0) != 0x80) return false;
      value = value << 6 | (bytes[i + k] & 0x3Fu);
    }
    if (value < least || value > 0x10FFFF) return false;
    if (value < 0x10000) {
      out->push_back(static_cast<wchar_t>(value));
    } else {
      value -= 0x10000;
      out->push_back(static_cast<wchar_t>(0xD800 + (value >> 10)));
      out->push_back(static_cast<wchar_t>(0xDC00 + (value & 0x3FF)));
    }
    i += more + 1;
  }
  return true;
}

void AppendWtf8(const wchar_t* text, size_t length, std::string* out) {
  auto add = [out](uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  out->reserve(out->size() + length);
  for (size_t i = 0; i < length; ++i) {
    uint32_t value = static_cast<uint16_t>(text[i]);
    if (IsHighSurrogate(value) && i + 1 < length && IsLowSurrogate(static_cast<uint16_t>(text[i + 1]))) {
      value = 0x10000 + ((value - 0xD800) << 10) + (static_cast<uint16_t>(text[++i]) - 0xDC00u);
    }
    if (value < 0x80) {
      add(value);
    } else if (value < 0x800) {
      add(0xC0 | value >> 6);
      add(0x80 | (value & 0x3F));
    } else if (value < 0x10000) {
      add(0xE0 | value >> 12);
      add(0x80 | (value >> 6 & 0x3F));
      add(0x80 | (value & 0x3F));
    } else {
      add(0xF0 | value >> 18);
      add(0x80 | (value >> 12 & 0x3F));
      add(0x80 | (value >> 6 & 0x3F));
      add(0x80 | (value & 0x3F));
    }
  }
}

}  // namespace platform
}  // namespace eacopy
