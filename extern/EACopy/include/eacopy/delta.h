// Delta: what a job makes with the help of a reference, an older version of a file.
#ifndef EACOPY_DELTA_H_
#define EACOPY_DELTA_H_

#include <cstdint>
#include <string>

namespace eacopy {

enum class DeltaAction : uint8_t {
  kCopy = 0,    // the destination becomes the source
  kCreate = 1,  // the destination becomes the patch that makes the source out of the reference
  kApply = 2,   // the source is such a patch, and the destination what it makes
};

struct Delta {
  DeltaAction action = DeltaAction::kCopy;
  std::string reference;
  int level = 3;                 // of zstd, for a new patch
  bool allow_unchecked = false;  // apply a patch that has no checksum
};

}  // namespace eacopy

#endif  // EACOPY_DELTA_H_
