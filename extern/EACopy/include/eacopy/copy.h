// The direct path: one small file, copied in the calling thread without a job.
#ifndef EACOPY_COPY_H_
#define EACOPY_COPY_H_

#include <string>

#include "eacopy/job.h"
#include "eacopy/options.h"

namespace eacopy {

enum class CopyResult { kCopied = 0, kFailed = 1, kNeedsJob = 2, kCopiedInto = 3 };

// Copies `source` to `destination` without progress, cancelling and retries. A file that is too large to go without
// them is left alone: kNeedsJob. kCopiedInto: the destination was a directory and took the file in. On kFailed,
// *failure tells why.
CopyResult CopySmallFile(const char* source, const char* destination, const Options& options, Failure* failure);

// Comma-separated names of what this build can do on this machine. Static storage.
const char* Capabilities();

}  // namespace eacopy

#endif  // EACOPY_COPY_H_
