// Names of unfinished files; see temporary.h.

#include "temporary.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

#include "platform.h"

namespace eacopy {

std::string TemporaryName() {
  // Unique is enough, O_EXCL does the rest: a counter in disguise costs no system call for each file.
  static const uint64_t seed = [] {
    uint64_t random = 0;
    platform::RandomBytes(&random, sizeof(random));
    return random;
  }();
  static std::atomic<uint64_t> counter{0};
  uint64_t number = seed + 0x9e3779b97f4a7c15u * counter.fetch_add(1, std::memory_order_relaxed);
  number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9u;
  number = (number ^ (number >> 27)) * 0x94d049bb133111ebu;
  number ^= number >> 31;
  std::string name = ".eacopy-0000000000000000.tmp";
  for (size_t i = 0; i < 16; ++i) name[8 + i] = "0123456789abcdef"[(number >> (4 * i)) & 15];
  return name;
}

void LetWhoClearsUpPass(int tries) { std::this_thread::sleep_for(std::chrono::microseconds(10) * tries); }

bool IsTemporaryName(std::string_view name) {
  constexpr std::string_view kBefore = ".eacopy-", kAfter = ".tmp";
  if (name.size() != kBefore.size() + 16 + kAfter.size()) return false;
  if (name.substr(0, kBefore.size()) != kBefore || name.substr(kBefore.size() + 16) != kAfter) return false;
  for (const char c : name.substr(kBefore.size(), 16)) {
    if ((c < '0' || c > '9') && (c < 'a' || c > 'f')) return false;
  }
  return true;
}

}  // namespace eacopy
