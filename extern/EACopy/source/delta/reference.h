// Reference: the older version that a delta is made with, while it is open.
#ifndef EACOPY_SOURCE_DELTA_REFERENCE_H_
#define EACOPY_SOURCE_DELTA_REFERENCE_H_

#include "../platform.h"

namespace eacopy {
namespace delta {

class Reference {
 public:
  Status Open(const char* path);

  const platform::Handle& handle() const { return handle_; }
  const platform::FileInfo& info() const { return info_; }
  // It was written so short a while ago that its times cannot tell whether it was again: what is made with it has to be
  // looked at.
  bool fresh() const { return fresh_; }
  // What was taken from it is right only if it still is what it was when it was compared.
  Status CheckUnchanged() const;

 private:
  platform::Handle handle_;
  platform::FileInfo info_;
  bool fresh_ = false;
};

}  // namespace delta
}  // namespace eacopy

#endif  // EACOPY_SOURCE_DELTA_REFERENCE_H_
