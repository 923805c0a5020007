// Block cloning: a copy that shares its clusters with the source until one of them is written to (ReFS, Dev Drive, and
// servers that offer the same over SMB).
#ifndef EACOPY_SOURCE_WINDOWS_CLONE_H_
#define EACOPY_SOURCE_WINDOWS_CLONE_H_

#include "../monitor.h"
#include "internal.h"

namespace eacopy {
namespace platform {

// Clones all of a regular file into one that has `old_size` bytes, which go. *cloned is false, with success and the
// destination as it was, when that is not possible here. A real error is reported: nothing should be tried after it.
Status Clone(HANDLE source, const FileInfo& source_info, HANDLE destination, uint64_t old_size, Monitor& monitor,
             bool* cloned);

// Gives the destination the mark "sparse", without which a hole is filled with zeros.
bool MakeSparse(HANDLE destination);

}  // namespace platform
}  // namespace eacopy

#endif  // EACOPY_SOURCE_WINDOWS_CLONE_H_
