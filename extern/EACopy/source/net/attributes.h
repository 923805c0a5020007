// Extended attributes in the form that entries of the extended dialect carry: u16 count, (str16 name, u32 + value)
// each.
#ifndef EACOPY_SOURCE_NET_ATTRIBUTES_H_
#define EACOPY_SOURCE_NET_ATTRIBUTES_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../platform.h"
#include "eacopy/status.h"

namespace eacopy {
namespace net {

// Linux's security.* and trusted.* stay where they are: they are privileges that one machine granted.
bool TravelsToOtherMachines(std::string_view name);

// False when they are damaged.
bool DecodeAttributes(std::string_view encoded, std::vector<std::pair<std::string, std::string_view>>* out);

// Reads those of an open file, in order of names; *encoded is empty when there are none. What does not fit into the
// protocol's limit is left out.
void ReadAttributes(platform::NativeHandle file, std::string* encoded);

// The attributes of a name in an open directory; no symbolic link is followed, and links have none. Costs one system
// call when there are none.
void ReadAttributesAt(const platform::Directory& parent, const char* name, std::string* encoded);
// Whether two sets of attributes are equal, in whatever order.
bool EqualAttributes(std::string_view a, std::string_view b);

// Sets them on an open file; what its file system does not know or allow is left out.
Status WriteAttributes(platform::NativeHandle file, std::string_view encoded);

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_ATTRIBUTES_H_
