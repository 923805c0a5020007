// A coordinator for tests: runs a job to its end and keeps all that it told.
#ifndef EACOPY_TESTS_RUN_JOB_H_
#define EACOPY_TESTS_RUN_JOB_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "eacopy/job.h"

namespace eacopy {
namespace test {

struct Item {
  ItemType type;
  std::string source;
  std::string destination;
};

struct Record {
  uint64_t copied;
  uint64_t total;
  bool first;
};

// What a sync did.
struct Done {
  Action action;
  std::string source;
  std::string destination;
  uint64_t size;
};

struct JobResult {
  bool done = false;
  std::vector<Failure> failures;
  std::vector<Done> actions;
  std::map<std::string, std::vector<Record>> progress;  // by source path
  Counters counters;

  // The only failure of a job that must have one.
  Failure failure() const {
    CHECK_EQUAL(failures.size(), 1u);
    return failures.empty() ? Failure() : failures[0];
  }
};

// How a coordinator behaves; what is left empty is done as every caller does it.
struct Coordination {
  // One byte a name, not 0 to leave it out.
  std::function<std::vector<uint8_t>(const std::string& directory, const std::vector<std::string>& names)> filter;
  std::function<void(Job& job)> after_wait;
  bool take_progress = true;
  bool take_actions = true;
  std::chrono::seconds patience{60};
};

// The parts of a text that are each ended by NUL.
inline std::vector<std::string> SplitAtNul(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\0', begin);
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

inline void TakeAll(Job& job, const Coordination& coordination, JobResult* result) {
  Failure failure;
  while (job.TakeFailure(&failure)) result->failures.push_back(std::move(failure));
  FilterRequest request;
  while (coordination.filter && job.TakeFilter(&request)) {
    const std::vector<std::string> names = SplitAtNul(request.names);
    CHECK_EQUAL(names.size(), request.count);
    const std::vector<uint8_t> answer = coordination.filter(request.directory, names);
    job.AnswerFilter(request.ticket, answer.data());
  }
  Actions actions;
  while (coordination.take_actions && job.TakeActions(&actions)) {
    std::vector<std::string> sources = SplitAtNul(actions.sources), destinations = SplitAtNul(actions.destinations);
    CHECK_EQUAL(sources.size(), actions.count());
    CHECK_EQUAL(destinations.size(), actions.count());
    for (size_t i = 0; i < actions.count(); ++i) {
      result->actions.push_back(
          {static_cast<Action>(actions.types[i]), std::move(sources[i]), std::move(destinations[i]), actions.sizes[i]});
    }
  }
  Progress progress;
  while (coordination.take_progress && job.TakeProgress(&progress)) {
    const std::vector<std::string> paths = SplitAtNul(progress.paths);
    CHECK_EQUAL(paths.size(), progress.count());
    for (size_t i = 0; i < progress.count(); ++i) {
      result->progress[paths[i]].push_back({progress.copied[i], progress.total[i], progress.first[i] != 0});
    }
  }
}

// Adds the items as there is room for them, and takes what there is until the job is done.
inline void Coordinate(Job& job, const std::vector<Item>& items, const Coordination& coordination, JobResult* result) {
  const auto deadline = std::chrono::steady_clock::now() + coordination.patience;
  size_t next = 0;
  bool ended = false;
  while (std::chrono::steady_clock::now() < deadline) {
    while (next < items.size()) {
      const Item& item = items[next];
      if (!job.Add(item.type, item.source.c_str(), item.destination.c_str())) break;
      ++next;
    }
    if (next == items.size() && !ended) {
      job.End();
      ended = true;
    }
    const int news = job.Wait(50);
    TakeAll(job, coordination, result);
    if (coordination.after_wait) coordination.after_wait(job);
    if ((news & kNewsDone) != 0) {
      result->done = true;
      break;
    }
  }
  result->counters = job.GetCounters();
  CHECK(result->done);
}

inline JobResult RunJob(const Options& options, const std::vector<Item>& items,
                        const Coordination& coordination = Coordination()) {
  JobResult result;
  Job job(options);
  Coordinate(job, items, coordination, &result);
  return result;
}

}  // namespace test
}  // namespace eacopy

#endif  // EACOPY_TESTS_RUN_JOB_H_
