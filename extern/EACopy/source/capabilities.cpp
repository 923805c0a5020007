// What this build can do on this machine.

#include <string>

#include "eacopy/copy.h"
#include "platform.h"

#ifndef _WIN32
#include "net/zstd.h"
#endif

namespace eacopy {

const char* Capabilities() {
  static const std::string names = [] {
    std::string all = platform::Capabilities();
    all += ",sync";
#ifndef _WIN32
    all += ",client,server";
    if (net::ZstdAvailable()) all += ",zstd";
#endif
    return all;
  }();
  return names.c_str();
}

}  // namespace eacopy
