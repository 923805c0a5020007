// A tree and its copy must not lie in each other: what is removed, or found, would depend on chance.
#ifndef EACOPY_SOURCE_SYNC_OVERLAP_H_
#define EACOPY_SOURCE_SYNC_OVERLAP_H_

#include <string>

#include "../platform.h"

namespace eacopy {

// What is wrong with a source, whose root has this identity, and a destination; empty when nothing is.
std::string OverlapOf(const std::string& source, const platform::FileId& source_id, const std::string& destination);

}  // namespace eacopy

#endif  // EACOPY_SOURCE_SYNC_OVERLAP_H_
