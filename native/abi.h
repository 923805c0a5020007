// What the files of the C ABI share.
#ifndef EACOPY_NATIVE_ABI_H_
#define EACOPY_NATIVE_ABI_H_

#include <string>
#include <utility>

#include "eacopy/job.h"
#include "eacopy/options.h"
#include "eacopy_c.h"

namespace eacopy {

Options FromC(const eac_options& c);

// The caller's, until eac_error_free.
eac_error* ToC(Failure failure);

}  // namespace eacopy

struct eac_job {
  explicit eac_job(const eacopy::Options& options) : job(options) {}
  eac_job(const eacopy::Options& options, const eacopy::Remote& remote) : job(options, remote) {}
  eac_job(const eacopy::Options& options, eacopy::Delta delta) : job(options, std::move(delta)) {}
  eac_job(const eacopy::Options& options, eacopy::Sync sync) : job(options, std::move(sync)) {}

  eacopy::Job job;
  eacopy::Progress progress;
  eacopy::FilterRequest filter;
  eacopy::Actions actions;
  std::string server;
  std::string not_kept;
};

#endif  // EACOPY_NATIVE_ABI_H_
