// Extended attributes in the form that entries of the extended dialect carry: u16 count, (str16 name, u32 + value)
// each.
#ifndef EACOPY_SOURCE_NET_ATTRIBUTES_H_
#define EACOPY_SOURCE_NET_ATTRIBUTES_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eacopy/status.h"

namespace eacopy {
namespace net {

// Linux's security.* and trusted.* stay where they are: they are privileges that one machine granted.
bool TravelsToOtherMachines(std::string_view name);

// False when they are damaged.
bool DecodeAttributes(std::string_view encoded, std::vector<std::pair<std::string, std::string_view>>* out);

// Reads those of an open file, in order of names; *encoded is empty when there are none. What does not fit into the
// protocol's limit is left out.
void ReadAttributes(int descriptor, std::string* encoded);
// The same for a symbolic link itself, by a path.
void ReadLinkAttributes(const char* path, std::string* encoded);

// Sets them on an open file; what its file system does not know or allow is left out.
Status WriteAttributes(int descriptor, std::string_view encoded);

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_ATTRIBUTES_H_
