// Finding what two files have in common; see matching.h.

#include "matching.h"

#include <algorithm>
#include <bitset>
#include <cstring>
#include <string_view>

#include "../ranges.h"

namespace eacopy {
namespace delta {
namespace {

// What is compared at once, and the unit in which changes in place are told apart: that of file systems' blocks.
constexpr size_t kStep = 256u << 10;
constexpr size_t kBlock = 4096;
constexpr size_t kGroup = 64u << 10;
// So much must be lost before it is looked for, and so much of what is found must match.
constexpr uint64_t kLost = 32u << 10;
constexpr size_t kFound = 1024;
// What is searched for, and how many different bytes it must have: zeros and the like are everywhere.
constexpr size_t kProbe = 64;
constexpr size_t kDistinct = 8;
constexpr int64_t kNear = 4 << 20;
// All searches together may read so many times the reference.
constexpr uint64_t kBudget = 12;

bool TellsApart(const std::string& probe) {
  std::bitset<256> seen;
  for (char c : probe) seen.set(static_cast<unsigned char>(c));
  return probe.size() == kProbe && seen.count() >= kDistinct;
}

}  // namespace

Matcher::Matcher(const platform::Handle& source, const platform::Handle& reference, uint64_t reference_size,
                 const Monitor& monitor)
    : source_(source),
      reference_(reference),
      reference_size_(reference_size),
      monitor_(monitor),
      budget_(reference_size > UINT64_MAX / kBudget ? UINT64_MAX : reference_size * kBudget) {}

Status Matcher::ReadSource(uint64_t offset, size_t size, std::string* out) {
  out->resize(size);
  size_t got = 0;
  Status status = platform::ReadRange(source_, Operation::kRead, offset, &(*out)[0], size, &got);
  out->resize(got);
  bytes_read_ += got;
  return status;
}

Status Matcher::ReadReference(int64_t offset, size_t size, std::string* out) {
  out->clear();
  if (offset < 0 || static_cast<uint64_t>(offset) >= reference_size_) return Status();
  out->resize(size);
  size_t got = 0;
  Status status =
      platform::ReadRange(reference_, Operation::kReadReference, static_cast<uint64_t>(offset), &(*out)[0], size, &got);
  out->resize(got);
  bytes_read_ += got;
  return status;
}

Status Matcher::Match(uint64_t begin, uint64_t end, const Take& take, uint64_t* reached) {
  uint64_t position = begin;
  uint64_t lost = begin;  // between the two nothing has matched
  uint64_t patience = kLost;
  while (position < end) {
    if (monitor_.cancelled()) return Status::Cancelled();
    Status status = ReadSource(position, static_cast<size_t>(std::min<uint64_t>(kStep, end - position)), &ours_);
    if (!status.ok()) return status;
    if (ours_.empty()) break;
    const size_t size = ours_.size();
    bool found = false;
    status = Compare(position, size, &lost, &found, take);
    if (!status.ok()) return status;
    if (found) patience = kLost;
    position += size;
    if (position - lost < patience) continue;
    uint64_t start = 0;
    int64_t shift = 0;
    status = Search(lost, position, &found, &start, &shift);
    if (!status.ok()) return status;
    if (!found) {
      patience = 2 * (position - lost);
      continue;
    }
    shift_ = shift;
    // Blocks can be shared only where they begin as blocks.
    position = std::min<uint64_t>((start + kBlock - 1) / kBlock * kBlock, end);
    if (position > lost) status = take({lost, position - lost, kNowhere});
    if (!status.ok()) return status;
    lost = position;
    patience = kLost;
  }
  *reached = position;
  return position > lost ? take({lost, position - lost, kNowhere}) : Status();
}

// Takes the equal parts of what is in ours_, and what was lost before each.
Status Matcher::Compare(uint64_t position, size_t size, uint64_t* lost, bool* found, const Take& take) {
  const int64_t diagonal = static_cast<int64_t>(position) + shift_;
  Status status = ReadReference(diagonal, size, &theirs_);
  if (!status.ok()) return status;
  auto equal = [this](size_t at, size_t count) {
    return at + count <= theirs_.size() && std::memcmp(&ours_[at], &theirs_[at], count) == 0;
  };
  auto put = [&](size_t at, size_t count) {
    if (position + at > *lost) {
      Status before = take({*lost, position + at - *lost, kNowhere});
      if (!before.ok()) return before;
    }
    *lost = position + at + count;
    *found = true;
    return take({position + at, count, static_cast<uint64_t>(diagonal) + at});
  };
  if (equal(0, size)) return put(0, size);
  size_t begin = size;  // of what has been equal since; `size`: nothing
  for (size_t group = 0; group < size; group += kGroup) {
    const size_t group_size = std::min(kGroup, size - group);
    const bool whole = equal(group, group_size);
    const size_t step = whole ? group_size : kBlock;
    for (size_t block = group; block < group + group_size; block += step) {
      const bool same = whole || equal(block, std::min(step, size - block));
      if (same && begin == size) begin = block;
      if (same || begin == size) continue;
      status = put(begin, block - begin);
      if (!status.ok()) return status;
      begin = size;
    }
  }
  return begin < size ? put(begin, size - begin) : Status();
}

// Looks for what was lost: where in the source it begins to match again, and the shift.
Status Matcher::Search(uint64_t lost, uint64_t position, bool* found, uint64_t* start, int64_t* shift) {
  *found = false;
  // The end of what is lost is most likely to come after an insertion, its middle before a removal.
  for (uint64_t place : {position - kProbe, lost + (position - lost) / 2, lost}) {
    std::string probe;
    Status status = ReadSource(place, kProbe, &probe);
    if (!status.ok()) return status;
    if (!TellsApart(probe)) continue;
    const int64_t expected = static_cast<int64_t>(place) + shift_;
    int64_t last = -1;
    for (bool near : {true, false}) {
      int64_t at = -1;
      status = near ? Find(probe, expected - kNear, expected + kNear, &at)
                    : Find(probe, 0, static_cast<int64_t>(reference_size_), &at);
      if (!status.ok()) return status;
      if (at < 0 || at == last) continue;
      last = at;
      bool holds = false;
      status = Holds(place, static_cast<uint64_t>(at), lost, &holds);
      if (!status.ok()) return status;
      if (!holds) continue;
      *found = true;
      *shift = at - static_cast<int64_t>(place);
      return FirstMatch(place, static_cast<uint64_t>(at), lost, start);
    }
  }
  return Status();
}

Status Matcher::Find(const std::string& probe, int64_t begin, int64_t end, int64_t* at) {
  *at = -1;
  begin = std::max<int64_t>(begin, 0);
  end = std::min(end, static_cast<int64_t>(reference_size_));
  while (end - begin >= static_cast<int64_t>(kProbe) && budget_ > 0) {
    if (monitor_.cancelled()) return Status::Cancelled();
    Status status = ReadReference(begin, static_cast<size_t>(std::min(kNear, end - begin)), &window_);
    if (!status.ok()) return status;
    budget_ -= std::min<uint64_t>(budget_, window_.size());
#if defined(__linux__) || defined(__APPLE__)
    const void* found = ::memmem(window_.data(), window_.size(), probe.data(), probe.size());
    const size_t offset =
        found == nullptr ? std::string::npos : static_cast<size_t>(static_cast<const char*>(found) - window_.data());
#else
    const size_t offset = std::string_view(window_).find(probe);
#endif
    if (offset != std::string::npos) {
      *at = begin + static_cast<int64_t>(offset);
      return Status();
    }
    if (window_.size() < kProbe) break;
    begin += static_cast<int64_t>(window_.size() - kProbe + 1);
  }
  return Status();
}

// Whether more than the probe matches, on either side of it.
Status Matcher::Holds(uint64_t place, uint64_t candidate, uint64_t lost, bool* holds) {
  Status status = ReadSource(place, kFound, &ours_);
  if (status.ok()) status = ReadReference(static_cast<int64_t>(candidate), ours_.size(), &theirs_);
  *holds = ours_.size() == kFound && ours_ == theirs_;
  if (!status.ok() || *holds) return status;
  if (place + kProbe < lost + kFound || candidate + kProbe < kFound) return status;
  status = ReadSource(place + kProbe - kFound, kFound, &ours_);
  if (status.ok()) status = ReadReference(static_cast<int64_t>(candidate + kProbe - kFound), kFound, &theirs_);
  *holds = ours_.size() == kFound && ours_ == theirs_;
  return status;
}

// How far back what was found reaches.
Status Matcher::FirstMatch(uint64_t place, uint64_t candidate, uint64_t lost, uint64_t* start) {
  while (place > lost && candidate > 0) {
    const auto count = static_cast<size_t>(std::min({static_cast<uint64_t>(kGroup), place - lost, candidate}));
    Status status = ReadSource(place - count, count, &ours_);
    if (status.ok()) status = ReadReference(static_cast<int64_t>(candidate - count), count, &theirs_);
    if (!status.ok()) return status;
    size_t same = 0;
    if (ours_.size() == count && theirs_.size() == count) {
      while (same < count && ours_[count - 1 - same] == theirs_[count - 1 - same]) ++same;
    }
    place -= same;
    candidate -= same;
    if (same < count) break;
  }
  *start = place;
  return Status();
}

}  // namespace delta
}  // namespace eacopy
