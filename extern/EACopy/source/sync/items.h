// A single file that is an item of a sync, with a destination of its own.
#ifndef EACOPY_SOURCE_SYNC_ITEMS_H_
#define EACOPY_SOURCE_SYNC_ITEMS_H_

#include <memory>
#include <string>

#include "services.h"

namespace eacopy {

std::unique_ptr<Task> MakeSyncFileTask(SyncServices& services, std::string source, std::string destination);

}  // namespace eacopy

#endif  // EACOPY_SOURCE_SYNC_ITEMS_H_
