// Matcher: finds the stretches of a file that another one, the reference, has too.
//
// The two are followed along a diagonal: what is at an offset of the source is expected at that offset plus a shift in
// the reference. An insertion or a removal moves the diagonal. When nothing has matched for a while, a few bytes of the
// source are looked for in the reference, first near the place where they are expected; what is found says where the
// new diagonal is. So changes in place cost one comparison, and content that moved is found at the speed of a text
// search.
#ifndef EACOPY_SOURCE_DELTA_MATCHING_H_
#define EACOPY_SOURCE_DELTA_MATCHING_H_

#include <cstdint>
#include <functional>
#include <string>

#include "../monitor.h"
#include "../platform.h"
#include "comparison.h"

namespace eacopy {
namespace delta {

constexpr uint64_t kNowhere = UINT64_MAX;

// A part of the source, and where the reference has the same, or kNowhere.
struct Stretch {
  uint64_t start = 0;
  uint64_t length = 0;
  uint64_t reference = kNowhere;
};

class Matcher {
 public:
  using Take = std::function<Status(const Stretch&)>;

  // With `ahead` a second thread may help.
  Matcher(const Files& files, bool ahead, const Monitor& monitor);

  // Tells `take` what [begin, end) of the source is made of, in order and without gaps. *reached is less than `end`
  // where the source ends before.
  Status Match(uint64_t begin, uint64_t end, const Take& take, uint64_t* reached);

  // Of both files, so far.
  uint64_t bytes_read() const { return bytes_read_ + comparison_.bytes_read(); }

 private:
  static Status TakeEqual(const Stride& stride, uint64_t* lost, bool* found, const Take& take);
  Status Search(uint64_t lost, uint64_t position, bool* found, uint64_t* start, int64_t* shift);
  Status Find(const std::string& probe, int64_t begin, int64_t end, int64_t* at);
  Status Holds(uint64_t place, uint64_t candidate, uint64_t lost, bool* holds);
  Status FirstMatch(uint64_t place, uint64_t candidate, uint64_t lost, uint64_t* start);
  Status ReadSource(uint64_t offset, size_t size, std::string* out);
  Status ReadReference(int64_t offset, size_t size, std::string* out);

  const Files files_;
  Comparison comparison_;
  const Monitor& monitor_;
  int64_t shift_ = 0;
  uint64_t budget_;  // bytes of the reference that searches may still read
  uint64_t bytes_read_ = 0;
  std::string ours_;
  std::string theirs_;
  std::string window_;
};

}  // namespace delta
}  // namespace eacopy

#endif  // EACOPY_SOURCE_DELTA_MATCHING_H_
