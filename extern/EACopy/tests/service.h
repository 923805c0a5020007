// A server of one share, and a client that knows it.
#ifndef EACOPY_TESTS_SERVICE_H_
#define EACOPY_TESTS_SERVICE_H_

#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "eacopy/server.h"
#include "files.h"
#include "run_job.h"

namespace eacopy {
namespace test {

inline JobResult RunItems(Job& job, const std::vector<Item>& items) {
  JobResult result;
  Coordinate(job, items, Coordination(), &result);
  return result;
}

class Service {
 public:
  explicit Service(const std::function<void(ServerOptions&)>& change = nullptr) {
    MakeFolder(folder_ / "share");
    MakeFolder(folder_ / "here");
    ServerOptions options;
    options.shares = {{"s", folder_ / "share"}};
    options.security_file = false;
    if (change) change(options);
    Failure failure;
    server_ = Server::Start(options, &failure);
    Must(server_ != nullptr, "start a server");
    remote_.host = "127.0.0.1";
    remote_.port = server_->port();
    remote_.token = options.token;
    remote_.timeout = 20;
    options_.follow_symlinks = false;
    options_.thread_count = 4;
  }

  std::string Shared(const std::string& name) const { return folder_ / ("share/" + name); }
  std::string Here(const std::string& name) const { return folder_ / ("here/" + name); }

  JobResult Push(const std::string& here, const std::string& shared, bool tree = true) {
    remote_.push = true;
    remote_.directory = "s/" + shared;
    remote_.local_directory = Shared(shared);
    return Run(tree, Here(here), "eacopy://server/s/" + shared);
  }
  JobResult Pull(const std::string& shared, const std::string& here) {
    remote_.push = false;
    remote_.directory = "s/" + shared;
    remote_.local_directory = Shared(shared);
    return Run(false, "eacopy://server/s/" + shared, Here(here));
  }

  // Temporary files that were left, on either side.
  size_t Unfinished() const {
    size_t count = 0;
    for (const auto& [path, text] : Describe(folder_.path(), false)) {
      count += path.find(".eacopy-") != std::string::npos ? 1 : 0;
    }
    return count;
  }

  Server& server() { return *server_; }
  Options& options() { return options_; }
  Remote& remote() { return remote_; }

 private:
  JobResult Run(bool tree, const std::string& source, const std::string& destination) {
    Job job(options_, remote_);
    return RunItems(job, {{tree ? ItemType::kTree : ItemType::kFile, source, destination}});
  }

  Folder folder_;
  std::unique_ptr<Server> server_;
  Options options_;
  Remote remote_;
};

inline void CheckNothingFailed(const JobResult& result) {
  CHECK(result.done);
  for (const Failure& failure : result.failures) {
    std::fprintf(stderr, "%s -> %s: kind %d operation %d errno %d %s\n", failure.source.c_str(),
                 failure.destination.c_str(), static_cast<int>(failure.status.kind()),
                 static_cast<int>(failure.status.operation()), failure.status.error_number(), failure.text.c_str());
  }
  CHECK_EQUAL(result.failures.size(), 0u);
}

}  // namespace test
}  // namespace eacopy

#endif  // EACOPY_TESTS_SERVICE_H_
