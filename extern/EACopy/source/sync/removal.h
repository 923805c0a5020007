// Removing what the source does not have. Every name is looked up in an open directory, and no link is followed.
#ifndef EACOPY_SOURCE_SYNC_REMOVAL_H_
#define EACOPY_SOURCE_SYNC_REMOVAL_H_

#include <string>

#include "services.h"

namespace eacopy {

// Removes a file or link; `path` is how the user would write it. Whether it is gone; if not, it was told.
bool RemoveFile(SyncServices& services, Worker& worker, const platform::Directory& parent, const char* name,
                const std::string& path);
// Removes a directory with all that is in it, save what the job leaves out. `where`: its path below the destination,
// with a "/" at its end. Whether it is gone, or would be.
bool RemoveTree(SyncServices& services, Worker& worker, const platform::Directory& parent, const char* name,
                const std::string& path, const std::string& where);
// Whether a file of the destination is one that the job is about. `where`: the path of the directory.
bool IsConcerned(const SyncServices& services, const platform::Directory& parent, const char* name,
                 const std::string& where);
// Lets the owner change a directory of the destination. Its mode is set again when all in it is done.
void MakeWritable(const SyncServices& services, const platform::Directory& directory, const platform::FileInfo& info);

}  // namespace eacopy

#endif  // EACOPY_SOURCE_SYNC_REMOVAL_H_
