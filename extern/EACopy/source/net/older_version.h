// OlderVersion: a file of which a newer version is on its way; what both have need not be sent.
#ifndef EACOPY_SOURCE_NET_OLDER_VERSION_H_
#define EACOPY_SOURCE_NET_OLDER_VERSION_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "../delta/frames.h"
#include "../delta/signatures.h"
#include "../platform.h"
#include "arrival.h"
#include "eacopy/status.h"
#include "messages.h"

namespace eacopy {
namespace net {

// Smaller files are not worth it, unless it is asked for.
constexpr uint64_t kWorthDelta = 256 * 1024;
// Patches need both versions in memory.
constexpr uint64_t kMostPatched = uint64_t{256} << 20;
constexpr int kPatchLevel = 3;  // where none is asked for

// Is held open, so that it may be replaced meanwhile.
class OlderVersion {
 public:
  // Takes a regular file that is not empty.
  Status Open(const platform::Directory& parent, const char* name, bool follow);

  const platform::Handle& handle() const { return handle_; }
  const platform::FileInfo& info() const { return info_; }
  uint64_t size() const { return info_.size; }
  // Whether its signatures are of use for a file of this size: they must not cost what they could save.
  bool IsLike(uint64_t size) const;

  // Looks whether it is what somebody has: kDeltaCopy when it is not.
  Status Compare(const ReferenceDigest& reference, const std::atomic<bool>* stopping) const;
  Status Digest(const std::atomic<bool>* stopping, Md5Digest* md5) const;
  // All of it, if that is `reference`: what is in memory is what counts, the file may change meanwhile.
  Status ReadExactly(const ReferenceDigest& reference, const std::atomic<bool>* stopping, std::string* content) const;
  // All of it.
  Status Read(const std::atomic<bool>* stopping, std::string* content) const;
  // Appends messages to *out, and calls `appended` after each.
  Status TellSignatures(uint32_t index, const std::atomic<bool>* stopping, std::string* out,
                        const std::function<Status()>& appended) const;

 private:
  template <typename Take>
  Status ReadPieces(const std::atomic<bool>* stopping, size_t piece, Take take) const;

  platform::Handle handle_;
  platform::FileInfo info_;
};

// Adds what a message says. False: it is not what must come next.
bool AddSignatures(const SignaturesMessage& message, std::unique_ptr<delta::Signatures>* signatures);

// Content that arrives as what differs from an older version. What cannot be made of it fails the arrival with
// kDeltaCopy, as a sum that is wrong at the end does: the content can be sent as it is then.
class DeltaArrival {
 public:
  // `by_patch`: that is what was asked for, and nothing else may come then, nor otherwise.
  // `checked`: only one that has a checksum will do.
  DeltaArrival(Arrival& arrival, const OlderVersion& older, bool by_patch, bool checked = true)
      : arrival_(arrival), older_(older), by_patch_(by_patch), checked_(checked) {}

  // Nothing is shared with the older version: it is read, and written once more.
  void NeverClone() { clones_ = false; }
  // False: it is not in the older version. Takes up what is there again and again until `stopping`.
  bool Reuse(const net::Reuse& reuse, const std::atomic<bool>& stopping);
  // A part of a patch for `size` bytes. False: more follows than a patch for so many.
  bool Patch(std::string_view bytes, uint64_t size, const std::atomic<bool>& stopping);
  // Nothing more comes. False: what came is not complete.
  bool IsComplete() const { return ended_ || !by_patch_ || !used_; }
  // What arrived is not what was sent.
  void Fail();
  // Whether anything of the older version is in it, so that this may be why it is wrong.
  bool used() const { return used_; }
  bool failed() const { return failed_; }
  // Of the patch, as far as its beginning has come.
  bool has_checksum() const { return has_checksum_; }
  // Bytes of the older version, in the stretches that were taken from it.
  uint64_t reused() const { return reused_; }

 private:
  bool BeginPatch(uint64_t size, const std::atomic<bool>& stopping);
  void Take(uint64_t offset, uint64_t length, const std::atomic<bool>& stopping);

  Arrival& arrival_;
  const OlderVersion& older_;
  const bool by_patch_;
  const bool checked_;
  bool has_checksum_ = false;
  bool clones_ = true;
  uint64_t reused_ = 0;
  std::unique_ptr<char[]> buffer_;
  std::string head_;  // of the patch, until it can be read
  std::string prefix_;
  std::unique_ptr<delta::FrameReader> frame_;
  std::string content_;
  bool used_ = false;
  bool ended_ = false;  // the patch
  bool failed_ = false;
};

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_OLDER_VERSION_H_
