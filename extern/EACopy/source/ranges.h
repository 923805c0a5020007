// What deltas ask of an operating system beside platform.h: reading and writing at offsets, and having stretches of one
// file in another without moving them.
#ifndef EACOPY_SOURCE_RANGES_H_
#define EACOPY_SOURCE_RANGES_H_

#include <cstddef>
#include <cstdint>

#include "platform.h"

namespace eacopy {
namespace platform {

// Reads `size` bytes, or what there is before the end of the file.
Status ReadRange(const Handle& file, Operation operation, uint64_t offset, char* data, size_t size, size_t* got);
Status WriteRange(const Handle& file, uint64_t offset, const char* data, size_t size);

// The next stretch of a file of `size` bytes that holds data, at or after `offset`. Only a hole is left: both are
// `size`. Where holes are not known all is data.
void FindData(const Handle& file, uint64_t offset, uint64_t size, uint64_t* begin, uint64_t* end);

// Makes the destination share the extents of a stretch of the source. Offsets and length must be multiples of the
// file system's block, but the length where the source ends. *shared is false, with success, where that is not
// possible.
Status ShareRange(const Handle& source, uint64_t source_offset, const Handle& destination, uint64_t destination_offset,
                  uint64_t length, bool* shared);
// Has the kernel, or the server of a network file system, copy; *copied is 0, with success, where it does not.
Status TransferRange(const Handle& source, uint64_t source_offset, const Handle& destination,
                     uint64_t destination_offset, uint64_t length, uint64_t* copied);
// Gives a stretch back to the file system, which then reads as zeros; false where it cannot.
bool PunchHole(const Handle& file, uint64_t offset, uint64_t length);

}  // namespace platform
}  // namespace eacopy

#endif  // EACOPY_SOURCE_RANGES_H_
