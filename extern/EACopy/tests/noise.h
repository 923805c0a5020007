// Bytes that look random and are the same in every run.
#ifndef EACOPY_TESTS_NOISE_H_
#define EACOPY_TESTS_NOISE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace eacopy {
namespace test {

// Bytes without a pattern, the same for the same seed.
inline std::string Noise(size_t size, uint64_t seed = 1) {
  std::string bytes(size, '\0');
  uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (size_t i = 0; i < size; i += sizeof(state)) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    std::memcpy(&bytes[i], &state, std::min(sizeof(state), size - i));
  }
  return bytes;
}

}  // namespace test
}  // namespace eacopy

#endif  // EACOPY_TESTS_NOISE_H_
