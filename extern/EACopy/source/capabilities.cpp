// What this build can do on this machine.

#include <string>

#include "eacopy/copy.h"
#include "net/zstd.h"
#include "platform.h"

namespace eacopy {

const char* Capabilities() {
  static const std::string names = [] {
    std::string all = platform::Capabilities();
    all += ",sync,client,server";
    if (net::ZstdAvailable()) all += ",zstd";
    return all;
  }();
  return names.c_str();
}

}  // namespace eacopy
