// One file, or one link: whether it has to be copied, and from where.
#ifndef EACOPY_SOURCE_SYNC_FILES_H_
#define EACOPY_SOURCE_SYNC_FILES_H_

#include <string>

#include "place.h"

namespace eacopy {

// A file that is the same as one that is to be copied.
struct OlderFile {
  const platform::Directory* directory = nullptr;
  std::string name;
  std::string path;  // as the user would write it
  platform::FileInfo info;
};

// Brings a file up to date. `exists`: there may be something of that name at the destination. `follow`: the source is a
// link that stands for what it leads to. Returns whether it is there as it should be; if not, it was told.
bool BringFile(Place& place, const char* name, bool exists, bool follow);
// The same, when it is known what the source is.
bool Bring(Place& place, const char* name, const platform::FileInfo& info, bool exists, bool follow);
// The same for a symbolic link, as a link.
bool BringLink(Place& place, const char* name, bool exists);

// Parts of the above, for who knows more.

// Copies what no listing called a regular file; which refuses what cannot be copied.
bool CopyUnlisted(Place& place, const char* name, bool follow);
// What is at the destination; false when there is nothing.
bool Look(const Place& place, const char* name, platform::FileInfo* info, Status* status);
// Removes a directory from where a file is to go, if that is wanted. Whether the way is free.
bool Clear(Place& place, const char* name);
void CountSkipped(Place& place, uint64_t size);
void CountLinked(Place& place, uint64_t size);
// Makes a file another name of an older one. *made is false, and nothing is changed, where that cannot be.
Status MakeLink(Place& place, const char* name, const OlderFile& older, bool replace, bool* made);
// Whether two times are the same, as far as both file systems can tell.
bool SameTime(const platform::FileInfo& a, const platform::FileInfo& b, const Traits& traits);

}  // namespace eacopy

#endif  // EACOPY_SOURCE_SYNC_FILES_H_
