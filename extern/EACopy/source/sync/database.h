// Database: the LINKDB file of a sync, where files were copied to by this and earlier ones.
#ifndef EACOPY_SOURCE_SYNC_DATABASE_H_
#define EACOPY_SOURCE_SYNC_DATABASE_H_

#include <memory>
#include <string>

#include "../net/history.h"
#include "../platform.h"

namespace eacopy {

// Remembers files by path below the destination (or by name alone), time and size. Any thread may call Find and Add.
class Database {
 public:
  Status Open(const std::string& path, bool by_name);
  // The path of a file that was the same when it was copied.
  bool Find(const std::string& where, const platform::FileInfo& info, std::string* path) const;
  // Remembers a file that is at a path now.
  void Add(const std::string& where, const platform::FileInfo& info, const std::string& path);
  // Replaces the file, if there is something new.
  Status Save();

 private:
  std::string Key(const std::string& where) const;

  std::string path_;
  bool by_name_ = false;
  std::unique_ptr<net::History> history_;
  uint64_t changes_ = 0;  // that were in the file
};

}  // namespace eacopy

#endif  // EACOPY_SOURCE_SYNC_DATABASE_H_
