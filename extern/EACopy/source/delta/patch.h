// Patch files: the difference between a reference and a source, as zstd frames with the reference as prefix.
//
// Up to kWholeMaximum bytes on either side a patch is one frame with the whole reference as its prefix, which
// `zstd -d --patch-from=REFERENCE` applies too. Beyond that it is windowed, so that the memory stays bounded: for each
// segment of the source a skippable frame that says which stretch of the reference is the prefix, and a frame.
#ifndef EACOPY_SOURCE_DELTA_PATCH_H_
#define EACOPY_SOURCE_DELTA_PATCH_H_

#include "../file_copy.h"
#include "../platform.h"
#include "eacopy/delta.h"
#include "fill.h"

namespace eacopy {
namespace delta {

constexpr uint64_t kWholeMaximum = uint64_t{1} << 30;
constexpr uint64_t kSegment = 256u << 20;
// The prefix of a segment reaches so far to either side of its place in the reference.
constexpr uint64_t kReach = 256u << 20;

// Writes the patch that makes request.source out of the reference into request.destination.
Status CreatePatch(const FillRequest& request, int level, FillResult* result);

// Writes what the patch request.source makes out of the reference into request.destination.
Status ApplyPatch(const FillRequest& request, bool allow_unchecked, FileMonitor& monitor, FillResult* result);

}  // namespace delta
}  // namespace eacopy

#endif  // EACOPY_SOURCE_DELTA_PATCH_H_
