// Filling a destination with the contents of a source, most of which a reference has already.
#ifndef EACOPY_SOURCE_DELTA_FILL_H_
#define EACOPY_SOURCE_DELTA_FILL_H_

#include "../monitor.h"
#include "../platform.h"
#include "reference.h"

namespace eacopy {
namespace delta {

struct FillRequest {
  const platform::Handle& source;
  const platform::FileInfo& source_info;
  const Reference& reference;
  const platform::Handle& destination;  // empty, or the reference itself
  bool in_place;                        // it is the reference itself
  const Options& options;
  platform::Scratch& scratch;
  Monitor& monitor;
};

struct FillResult {
  uint64_t size = 0;     // of the destination
  uint64_t reused = 0;   // bytes taken from the reference
  uint64_t written = 0;  // and otherwise
  uint64_t read = 0;     // from both
  bool cloned = false;   // the destination is a clone of the source: the reference was not needed
};

Status Fill(const FillRequest& request, FillResult* result);

// Writes to the destination, no faster than the job may.
Status WriteAdmitted(const FillRequest& request, uint64_t offset, const char* data, size_t size);

}  // namespace delta
}  // namespace eacopy

#endif  // EACOPY_SOURCE_DELTA_FILL_H_
