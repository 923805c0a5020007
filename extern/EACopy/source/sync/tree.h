// A tree that is brought up to date.
#ifndef EACOPY_SOURCE_SYNC_TREE_H_
#define EACOPY_SOURCE_SYNC_TREE_H_

#include <memory>
#include <string>

#include "services.h"

namespace eacopy {

std::unique_ptr<Task> MakeSyncTreeTask(SyncServices& services, std::string source, std::string destination);

}  // namespace eacopy

#endif  // EACOPY_SOURCE_SYNC_TREE_H_
