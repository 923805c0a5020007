// The history in a file, in the format of EACopy's LINKDB.
#ifndef EACOPY_SOURCE_NET_LINK_DATABASE_H_
#define EACOPY_SOURCE_NET_LINK_DATABASE_H_

#include <atomic>
#include <string>

#include "eacopy/status.h"
#include "history.h"
#include "share.h"

namespace eacopy {
namespace net {

// Adds what a file remembers, as far as it lies in the shares. A file that does not exist is an empty one. *complete is
// false when the file is damaged: what came before the damage has been added then.
Status LoadLinkDatabase(const std::string& path, const Shares& shares, History* history, bool* complete);

// Replaces the file. Names that the format cannot say are left out: those with a backslash, that are not UTF-8, or are
// too long. The history can be used meanwhile. `stop`, which may be null: the old file stays, and the status is that of
// a cancellation. `durable`: waits for the device.
Status SaveLinkDatabase(const std::string& path, const Shares& shares, History* history, bool durable,
                        const std::atomic<bool>* stop);

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_LINK_DATABASE_H_
