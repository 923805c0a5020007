// Selection: which names of a tree a sync is about.
#ifndef EACOPY_SOURCE_SYNC_SELECTION_H_
#define EACOPY_SOURCE_SYNC_SELECTION_H_

#include <functional>
#include <string>
#include <vector>

#include "../platform.h"
#include "eacopy/sync.h"

namespace eacopy {

// Several patterns; see eacopy/sync.h for what they say.
class Patterns {
 public:
  // The path of a directory below the root, with a "/" at its end; empty for the root.
  using Where = std::function<std::string()>;

  explicit Patterns(const std::vector<std::string>& patterns);
  bool empty() const { return of_names_.empty() && of_paths_.empty(); }
  bool Match(const char* given_name, const Where& where) const;

 private:
  std::vector<std::string> of_names_;
  std::vector<std::string> of_paths_;
};

class Selection {
 public:
  using Where = Patterns::Where;

  explicit Selection(const Sync& sync);

  // No name is left out.
  bool all_names() const { return all_names_; }
  // HasAttributes has to be asked.
  bool by_attributes() const { return !included_.empty() || !excluded_.empty(); }
  // Whether a file, or a link, is to be brought up to date, or purged.
  bool TakesFile(const char* name, const Where& where) const {
    return (all_files_ || files_.Match(name, where)) && !exclude_files_.Match(name, where);
  }
  // The same for a directory.
  bool Enters(const char* name, const Where& where) const { return !exclude_directories_.Match(name, where); }
  // Whether a file has one of the attributes that were asked for, and none that was ruled out.
  bool HasAttributes(const char* name, const platform::FileInfo& info) const;

  // An attribute that was asked for and that this system does not have; 0: none.
  static char UnknownAttribute(const Sync& sync);

 private:
  const Patterns files_;
  const Patterns exclude_files_;
  const Patterns exclude_directories_;
  const std::string included_;
  const std::string excluded_;
  const bool all_files_;
  const bool all_names_;
};

}  // namespace eacopy

#endif  // EACOPY_SOURCE_SYNC_SELECTION_H_
