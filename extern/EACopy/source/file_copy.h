// Copying one file: the policy around the data. What may be overwritten, what is removed after a failure, and in which
// order data, metadata, flushing and renaming happen.
#ifndef EACOPY_SOURCE_FILE_COPY_H_
#define EACOPY_SOURCE_FILE_COPY_H_

#include <atomic>
#include <string>

#include "eacopy/delta.h"
#include "eacopy/options.h"
#include "eacopy/status.h"
#include "monitor.h"
#include "platform.h"

namespace eacopy {

// A Monitor that knows where a file begins and ends.
class FileMonitor : public Monitor {
 public:
  virtual void Begin(uint64_t total) = 0;
  virtual void Finish(uint64_t total) = 0;

 protected:
  using Monitor::Monitor;
};

// What has been seen of the modes of new files in one directory. Where the kernel gives new files exactly the mode that
// was asked for, setting it again can be left out. That one mode is right says nothing of others: a default ACL may let
// 0644 through and take something from 0755.
class NewFileModes {
 public:
  // `umask`: the process's; all bits when it is not known.
  explicit NewFileModes(uint32_t umask) : umask_(umask) {}
  NewFileModes(const NewFileModes&) = delete;
  NewFileModes& operator=(const NewFileModes&) = delete;

  // Whether `file`, which was just created asking for `mode`, has that mode.
  bool IsRight(const platform::Handle& file, uint32_t mode);

 private:
  const uint32_t umask_;
  std::atomic<uint32_t> seen_{UINT32_MAX};  // the last mode that was right
};

struct FileTask {
  const platform::Directory& source_parent;
  const char* source_name;
  const platform::Directory& destination_parent;
  const char* destination_name;
  bool follow;                               // a symbolic link is copied as what it leads to
  bool in_tree;                              // found while walking: a device is not read there
  bool listed_regular;                       // a directory listing called it a regular file just now
  uint64_t size_limit;                       // leave a larger file alone and say so
  uint32_t thread_count;                     // how many threads may share its data
  NewFileModes* new_modes;                   // of the destination's directory; may be null
  const Delta* delta = nullptr;              // make the destination with the help of a reference
  bool replaces_links = false;               // a link at the destination is itself replaced, not what it leads to
  platform::Archivist* archivist = nullptr;  // keep the owner too
};

struct FileOutcome {
  bool too_large = false;  // larger than size_limit: nothing was touched
  bool into_directory = false;
  bool symlink = false;  // copied as a link
  uint64_t size = 0;
  Method method = Method::kReadWrite;
  uint64_t reused = 0;  // of a delta: bytes taken from the reference, written otherwise, and read from both
  uint64_t written = 0;
  uint64_t read = 0;
};

// Copies one file. On failure nothing that was created is left behind, and status.destination_state() tells what is
// there.
Status CopyFile(const FileTask& task, const Options& options, platform::Scratch& scratch, FileMonitor& monitor,
                FileOutcome* outcome);

// Refuses what cannot be read as a file, before it is opened. `in_tree`: that goes for devices, too.
Status RefuseSpecial(const platform::FileInfo& info, bool in_tree);

// Copies a symbolic link as a link; one in a tree with its times whatever the options say, as shutil does.
Status CopySymlink(const FileTask& task, const Options& options, bool* into_directory);

// The part of a path after its last separator.
const char* BaseName(const char* path);

}  // namespace eacopy

#endif  // EACOPY_SOURCE_FILE_COPY_H_
