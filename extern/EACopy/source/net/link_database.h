// The history in a file, in the format of EACopy's LINKDB.
#ifndef EACOPY_SOURCE_NET_LINK_DATABASE_H_
#define EACOPY_SOURCE_NET_LINK_DATABASE_H_

#include <string>

#include "eacopy/status.h"
#include "history.h"
#include "share.h"

namespace eacopy {
namespace net {

// Adds what a file remembers, as far as it lies in the shares. A file that does not exist is an empty one. *complete is
// false when the file is damaged: what came before the damage has been added then.
Status LoadLinkDatabase(const std::string& path, const Shares& shares, History* history, bool* complete);

// Replaces the file, durably. Names that the format cannot say are left out: those with a backslash, that are not
// UTF-8, or are too long.
Status SaveLinkDatabase(const std::string& path, const Shares& shares, const History& history);

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_LINK_DATABASE_H_
