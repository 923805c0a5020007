// File names in two encodings: the UTF-16 of the Windows API and the bytes that the engine speaks.
//
// NTFS keeps names as any sequence of 16-bit units, so a surrogate may stand alone in one. UTF-8 has no such character;
// WTF-8 writes it like any other (three bytes), which is what Python's "surrogatepass" does too. Every name survives
// the way out and back.
#ifndef EACOPY_SOURCE_WINDOWS_WTF8_H_
#define EACOPY_SOURCE_WINDOWS_WTF8_H_

#include <cstddef>
#include <string>

namespace eacopy {
namespace platform {

static_assert(sizeof(wchar_t) == 2, "wide characters are UTF-16 units here");

// Appends `text` to *out. False when it is not WTF-8: stray or missing continuation bytes, overlong forms, values above
// U+10FFFF. *out is then of no use.
bool AppendWide(const char* text, size_t length, std::wstring* out);

// Appends `text` to *out.
void AppendWtf8(const wchar_t* text, size_t length, std::string* out);

}  // namespace platform
}  // namespace eacopy

#endif  // EACOPY_SOURCE_WINDOWS_WTF8_H_
