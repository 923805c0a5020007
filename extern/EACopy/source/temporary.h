// Names of unfinished files: ".eacopy-" 16 hex digits ".tmp".
#ifndef EACOPY_SOURCE_TEMPORARY_H_
#define EACOPY_SOURCE_TEMPORARY_H_

#include <string>
#include <string_view>

namespace eacopy {

// A fresh name.
std::string TemporaryName();
// How often who clears up may take away what cannot be locked, a link, before it has its name: chance must not do that.
constexpr int kTemporaryTries = 100;
// Before a further try: so that the two do not go on in step.
void LetWhoClearsUpPass(int tries);
// Whether a name is one of those.
bool IsTemporaryName(std::string_view name);

}  // namespace eacopy

#endif  // EACOPY_SOURCE_TEMPORARY_H_
