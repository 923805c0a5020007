// The C ABI of sync: translates types, owns the memory that crosses, and lets no exception out.

#include "eacopy_sync.h"

#include <algorithm>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "abi.h"
#include "eacopy/sync.h"

namespace {

static_assert(EAC_ACTION_MEND == static_cast<int>(eacopy::Action::kMend));
static_assert(EAC_NEWS_ACTION == static_cast<int>(eacopy::kNewsAction));

std::vector<std::string> Texts(const eac_texts& c) {
  std::vector<std::string> texts;
  const char* next = c.texts;
  for (size_t i = 0; i < c.count; ++i) {
    texts.emplace_back(next);
    next += texts.back().size() + 1;
  }
  return texts;
}

eacopy::Sync FromC(const eac_sync& c) {
  eacopy::Sync sync;
  sync.files = Texts(c.files);
  sync.exclude_files = Texts(c.exclude_files);
  sync.exclude_dirs = Texts(c.exclude_dirs);
  sync.link_dirs = Texts(c.link_dirs);
  sync.link_database = c.link_database;
  sync.root = c.root;
  sync.include_attributes = c.include_attributes;
  sync.exclude_attributes = c.exclude_attributes;
  sync.link_min_size = c.link_min_size;
  sync.max_depth = c.max_depth;
  sync.subdirs = c.subdirs != 0;
  sync.empty_dirs = c.empty_dirs != 0;
  sync.purge = c.purge != 0;
  sync.flatten = c.flatten != 0;
  sync.exclude_changed = c.exclude_changed != 0;
  sync.compare_bytes = c.compare_bytes != 0;
  sync.link_by_name = c.link_by_name != 0;
  sync.keep_dir_symlinks = c.keep_dir_symlinks != 0;
  sync.dir_times = c.dir_times != 0;
  sync.hard_links = c.hard_links != 0;
  sync.archive = c.archive != 0;
  sync.dry_run = c.dry_run != 0;
  sync.want_actions = c.want_actions != 0;
  return sync;
}

}  // namespace

extern "C" {

eac_job* eac_job_new_sync(const eac_options* options, const eac_sync* sync) {
  try {
    return std::make_unique<eac_job>(eacopy::FromC(*options), FromC(*sync)).release();
  } catch (const std::exception&) {
    return nullptr;
  }
}

int eac_job_take_actions(eac_job* job, eac_actions* actions) {
  if (!job->job.TakeActions(&job->actions)) return 0;
  const eacopy::Actions& taken = job->actions;
  actions->count = taken.count();
  actions->types = taken.types.data();
  actions->sizes = taken.sizes.data();
  actions->sources = taken.sources.data();
  actions->sources_size = taken.sources.size();
  actions->destinations = taken.destinations.data();
  actions->destinations_size = taken.destinations.size();
  return 1;
}

const char* eac_job_not_kept(eac_job* job, size_t* count) {
  *count = 0;
  try {
    job->not_kept = job->job.NotKept();
  } catch (const std::exception&) {
    return "";
  }
  *count = static_cast<size_t>(std::count(job->not_kept.begin(), job->not_kept.end(), '\0'));
  return job->not_kept.c_str();
}

}  // extern "C"
