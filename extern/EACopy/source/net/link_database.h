// The history in a file, in the format of EACopy's LINKDB.
#ifndef EACOPY_SOURCE_NET_LINK_DATABASE_H_
#define EACOPY_SOURCE_NET_LINK_DATABASE_H_

#include <atomic>
#include <functional>
#include <string>
#include <string_view>

#include "eacopy/status.h"
#include "history.h"
#include "share.h"

namespace eacopy {
namespace net {

// Between the files of a history and the absolute paths that are in the file, here with '/' between names.
struct LinkPaths {
  std::function<std::string(const Remembered& file)> absolute;
  // Tells share and path of what is to be remembered; false for what is not.
  std::function<bool(const std::string& absolute, Remembered* file)> find;
};

// Remembers what lies in the shares, which must live on.
LinkPaths PathsIn(const Shares& shares);

// Adds what a file remembers, as far as `paths` finds it. A file that does not exist is an empty one. *complete is
// false when the file is damaged: what came before the damage has been added then.
Status LoadLinkDatabase(const std::string& path, const LinkPaths& paths, History* history, bool* complete);

// Replaces the file. Names that the format cannot say are left out: those with a backslash, that are not UTF-8, or are
// too long. The history can be used meanwhile. `stop`, which may be null: the old file stays, and the status is that of
// a cancellation. `durable`: waits for the device.
Status SaveLinkDatabase(const std::string& path, const LinkPaths& paths, History* history, bool durable,
                        const std::atomic<bool>* stop);

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_LINK_DATABASE_H_
