// The security file: proof that a client can read what the server's user writes; and the secrets that were proved.
#ifndef EACOPY_SOURCE_NET_SECURITY_FILE_H_
#define EACOPY_SOURCE_NET_SECURITY_FILE_H_

#include <map>
#include <mutex>
#include <string>

#include "eacopy/status.h"
#include "messages.h"
#include "open_directories.h"
#include "share.h"

namespace eacopy {
namespace net {

// A file with 16 random bytes, that is gone with the object, and leaves no trace in its directory's times.
class SecurityFile {
 public:
  SecurityFile() = default;
  SecurityFile(const SecurityFile&) = delete;
  SecurityFile& operator=(const SecurityFile&) = delete;
  ~SecurityFile() { Remove(); }

  Status Make(OpenDirectory directory);
  void Remove();

  const Guid& guid() const { return guid_; }
  const Secret& secret() const { return secret_; }
  const std::string& name() const { return name_; }

 private:
  OpenDirectory directory_;
  std::string name_;
  platform::FileInfo before_;  // the directory
  bool has_times_ = false;
  Guid guid_{};
  Secret secret_{};
};

// Secrets that were proved, each good for its directory as long as a connection holds it. Any thread may call these.
class Secrets {
 public:
  // Holds a secret for a connection.
  class Holder {
   public:
    Holder() = default;
    Holder(const Holder&) = delete;
    Holder& operator=(const Holder&) = delete;
    ~Holder() { Release(); }
    void Release();

   private:
    friend class Secrets;
    Secrets* secrets_ = nullptr;
    Secret secret_{};
  };

  void Add(const Secret& secret, const Place& place, Holder* holder);
  // False when nobody holds it, or for another place: neither that directory nor below it.
  bool Join(const Secret& secret, const Place& place, Holder* holder);

 private:
  struct Proved {
    Place place;
    size_t holders = 0;
  };
  void Release(const Secret& secret);

  std::mutex mutex_;
  std::map<Secret, Proved> proved_;
};

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_SECURITY_FILE_H_
