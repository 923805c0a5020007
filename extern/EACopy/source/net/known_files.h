// KnownFiles: decides what a file that is offered needs: nothing, a link on the server, or its content.
#ifndef EACOPY_SOURCE_NET_KNOWN_FILES_H_
#define EACOPY_SOURCE_NET_KNOWN_FILES_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "../platform.h"
#include "eacopy/status.h"
#include "older_version.h"
#include "open_directories.h"
#include "server_context.h"
#include "store.h"

namespace eacopy {
namespace net {

// A file that a client has.
struct OfferedFile {
  std::string_view path;   // relative to the session's directory
  std::string full_path;   // relative to the share
  uint64_t file_time = 0;  // its mtime in 100 ns since 1601
  uint64_t size = 0;
  bool exact_time = false;  // the nanoseconds are known: metadata.mtime
  bool compare_attributes = false;
  NewMetadata metadata;  // what it is to have; kUnknownMode: any mode will do
};

enum class Decision : uint8_t { kSend, kLinked, kSkipped };

// For one session.
class KnownFiles {
 public:
  KnownFiles(ServerContext& context, const Share& share, OpenDirectories& directories)
      : context_(context), share_(share), directories_(directories) {}

  // `parent`: the destination's directory. A failure is one of this file. *existing_mode is kUnknownMode when nothing
  // is there yet. `new_parent`: there is nothing in it.
  Status Decide(const OfferedFile& file, const OpenDirectory& parent, bool new_parent, Decision* decision,
                uint32_t* existing_mode);
  // The same by the MD5 of its content.
  Status DecideByDigest(const OfferedFile& file, const OpenDirectory& parent, const Md5Digest& md5, Decision* decision);

  // Opens an older version of a file whose place has none: one of its name. False: nothing is known of one, or it is
  // not what it was.
  bool OpenOlder(const OfferedFile& file, OlderVersion* older);
  // Whether the history knows a file of that name and size.
  bool Knows(std::string_view name, uint64_t size) const;
  // Opens the very file that somebody has, if the history knows one of that content or name. Not that of the path
  // `except`.
  bool OpenReference(std::string_view name, std::string_view except, const ReferenceDigest& reference,
                     OlderVersion* older);

  // A file is there now, with this content. `md5`: null when it is not known.
  void Remember(const OfferedFile& file, const Md5Digest* md5);

 private:
  struct Found {
    Remembered file;
    OpenDirectory parent;
    std::string name;
    platform::FileInfo info;
  };

  std::string_view KeyOf(std::string_view path) const;
  bool Look(Found* found);
  bool OpenFound(Found* found, OlderVersion* older);
  bool MayLink(const Found& found, const OfferedFile& file) const;
  bool IsEqual(const platform::FileInfo& info, const OfferedFile& file) const;
  bool Link(const Found& found, const OfferedFile& file, const OpenDirectory& parent, bool replace, bool* exists);
  bool CopyHere(const Found& found, const OfferedFile& file, const OpenDirectory& parent, bool clone_only);
  bool LinkOrCopy(const Found& found, const OfferedFile& file, const OpenDirectory& parent);
  Status SetMode(const OfferedFile& file, const OpenDirectory& parent, const platform::FileInfo& info, bool* done);
  void CountSkipped(const OfferedFile& file, const Md5Digest* md5);
  void CountLinked(const OfferedFile& file, const Md5Digest* md5);

  ServerContext& context_;
  const Share& share_;
  OpenDirectories& directories_;
  platform::Scratch scratch_;
};

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_KNOWN_FILES_H_
