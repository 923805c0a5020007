// Finding what two files have in common; see matching.h.

#include "matching.h"

#include <algorithm>
#include <bitset>
#include <cstring>
#include <iterator>
#include <string_view>

#include "../ranges.h"

namespace eacopy {
namespace delta {
namespace {

// So much must be lost before it is looked for, and so much of what is found must match.
constexpr uint64_t kLost = 32u << 10;
constexpr size_t kFound = 1024;
constexpr size_t kGroup = 64u << 10;  // is looked at at once, going back from what was found
// What is searched for, and how many different bytes it must have: zeros and the like are everywhere.
constexpr size_t kProbe = 64;
constexpr size_t kDistinct = 8;
// What is compared at once grows up to kStride: where insertions are close to each other, only the last of them is
// found.
constexpr size_t kShortest = 64u << 10;
// How far around the expected place is looked before the whole reference is, and how much is read at once.
constexpr int64_t kAnywhere = INT64_MAX;
constexpr int64_t kAround[] = {256 << 10, 4 << 20, kAnywhere};
constexpr int64_t kWindow = 4 << 20;
// All searches together may read so many times the reference.
constexpr uint64_t kBudget = 12;

bool TellsApart(const std::string& probe) {
  std::bitset<256> seen;
  for (char c : probe) seen.set(static_cast<unsigned char>(c));
  return probe.size() == kProbe && seen.count() >= kDistinct;
}

}  // namespace

Matcher::Matcher(const Files& files, bool ahead, const Monitor& monitor)
    : files_(files),
      comparison_(files, ahead),
      monitor_(monitor),
      budget_(files.reference_size > UINT64_MAX / kBudget ? UINT64_MAX : files.reference_size * kBudget) {}

Status Matcher::ReadSource(uint64_t offset, size_t size, std::string* out) {
  Status status = files_.ReadSource(offset, size, out);
  bytes_read_ += out->size();
  return status;
}

Status Matcher::ReadReference(int64_t offset, size_t size, std::string* out) {
  Status status = files_.ReadReference(offset, size, out);
  bytes_read_ += out->size();
  return status;
}

Status Matcher::Match(uint64_t begin, uint64_t end, const Take& take, uint64_t* reached) {
  uint64_t position = begin;
  uint64_t lost = begin;  // between the two nothing has matched
  uint64_t patience = kLost;
  size_t stride_size = kShortest;
  while (position < end) {
    if (monitor_.cancelled()) return Status::Cancelled();
    const Stride& stride = comparison_.Compare(position, stride_size, end, shift_);
    if (!stride.status.ok()) return stride.status;
    if (stride.size == 0) break;
    bool found = false;
    Status status = TakeEqual(stride, &lost, &found, take);
    if (!status.ok()) return status;
    if (found) patience = kLost;
    position += stride.size;
    stride_size = std::min(2 * stride_size, kStride);
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
    stride_size = kShortest;
  }
  *reached = position;
  return position > lost ? take({lost, position - lost, kNowhere}) : Status();
}

// Takes the equal parts of a stride, and what was lost before each.
Status Matcher::TakeEqual(const Stride& stride, uint64_t* lost, bool* found, const Take& take) {
  const size_t blocks = (stride.size + kBlock - 1) / kBlock;
  for (size_t block = 0; block < blocks;) {
    const size_t first = block;
    while (block < blocks && stride.equal[block]) ++block;
    if (block == first) {
      ++block;
      continue;
    }
    const uint64_t begin = stride.position + first * kBlock;
    const uint64_t end = stride.position + std::min(block * kBlock, stride.size);
    Status status = begin > *lost ? take({*lost, begin - *lost, kNowhere}) : Status();
    if (status.ok()) status = take({begin, end - begin, begin + static_cast<uint64_t>(stride.shift)});
    if (!status.ok()) return status;
    *lost = end;
    *found = true;
  }
  return Status();
}

// Looks for what was lost: where in the source it begins to match again, and the shift. What is near is looked for
// first, wherever in the source it begins.
Status Matcher::Search(uint64_t lost, uint64_t position, bool* found, uint64_t* start, int64_t* shift) {
  *found = false;
  // Where the next change comes soon only the first place serves; after a long insertion only the last.
  const uint64_t places[] = {lost + kLost - kProbe, lost + (position - lost) / 2, position - kProbe};
  std::string probes[std::size(places)];
  for (size_t i = 0; i < std::size(places); ++i) {
    Status status = ReadSource(places[i], kProbe, &probes[i]);
    if (!status.ok()) return status;
  }
  for (const int64_t around : kAround) {
    for (size_t i = 0; i < std::size(places); ++i) {
      if (!TellsApart(probes[i])) continue;
      const int64_t expected = static_cast<int64_t>(places[i]) + shift_;
      int64_t at = -1;
      Status status = around == kAnywhere ? Find(probes[i], 0, static_cast<int64_t>(files_.reference_size), &at)
                                          : Find(probes[i], expected - around, expected + around, &at);
      if (!status.ok()) return status;
      if (at < 0) continue;
      status = Holds(places[i], static_cast<uint64_t>(at), lost, found);
      if (!status.ok()) return status;
      if (!*found) continue;
      *shift = at - static_cast<int64_t>(places[i]);
      return FirstMatch(places[i], static_cast<uint64_t>(at), lost, start);
    }
  }
  return Status();
}

Status Matcher::Find(const std::string& probe, int64_t begin, int64_t end, int64_t* at) {
  *at = -1;
  begin = std::max<int64_t>(begin, 0);
  end = std::min(end, static_cast<int64_t>(files_.reference_size));
  while (end - begin >= static_cast<int64_t>(kProbe) && budget_ > 0) {
    if (monitor_.cancelled()) return Status::Cancelled();
    Status status = ReadReference(begin, static_cast<size_t>(std::min(kWindow, end - begin)), &window_);
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
