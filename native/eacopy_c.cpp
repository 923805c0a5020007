// The C ABI over the engine: translates types, owns the memory that crosses, and lets no exception out.

#include "eacopy_c.h"

#include <algorithm>
#include <exception>
#include <memory>
#include <new>
#include <string>

#include "abi.h"
#include "eacopy/copy.h"

namespace {

// The numbers of the C header are those of the engine.
static_assert(EAC_KIND_UNKNOWN == static_cast<int>(eacopy::Kind::kUnknown));
static_assert(EAC_KIND_INTERRUPTED == static_cast<int>(eacopy::Kind::kInterrupted));
static_assert(EAC_OPERATION_READ_PATCH == static_cast<int>(eacopy::Operation::kReadPatch));
static_assert(EAC_OPERATION_VERIFY == static_cast<int>(eacopy::Operation::kVerify));
static_assert(EAC_DESTINATION_UNKNOWN == static_cast<int>(eacopy::DestinationState::kUnknown));
static_assert(EAC_METADATA_STAT == static_cast<int>(eacopy::Metadata::kStat));
static_assert(EAC_REFLINK_NEVER == static_cast<int>(eacopy::Reflink::kNever));
static_assert(EAC_STRATEGY_IGNORE == static_cast<int>(eacopy::Strategy::kIgnore));
static_assert(EAC_DELTA_APPLY == static_cast<int>(eacopy::DeltaAction::kApply));
static_assert(EAC_ITEM_TREE == static_cast<int>(eacopy::ItemType::kTree));
static_assert(EAC_METHOD_COUNT == eacopy::kMethodCount);
static_assert(EAC_NEWS_DONE == static_cast<int>(eacopy::kNewsDone));
static_assert(EAC_RESULT_COPIED_INTO == static_cast<int>(eacopy::CopyResult::kCopiedInto));

// An eac_error with the strings that it points to.
struct OwnedError : eac_error {
  std::string source_text;
  std::string destination_text;
  std::string peer_text;
};

}  // namespace

namespace eacopy {

Options FromC(const eac_options& c) {
  Options options;
  options.buffer_size = std::max<uint64_t>(c.buffer_size, 1);  // with none, every file would seem to be at its end
  options.retry_delay = c.retry_delay;
  options.retry_count = c.retry_count;
  options.thread_count = c.thread_count;
  options.metadata = static_cast<Metadata>(c.metadata);
  options.reflink = static_cast<Reflink>(c.reflink);
  options.strategy = static_cast<Strategy>(c.strategy);
  options.follow_symlinks = c.follow_symlinks != 0;
  options.ignore_dangling_symlinks = c.ignore_dangling_symlinks != 0;
  options.dirs_exist_ok = c.dirs_exist_ok != 0;
  options.into_directory = c.into_directory != 0;
  options.atomic = c.atomic != 0;
  options.fsync = c.fsync != 0;
  options.verify = c.verify != 0;
  options.want_progress = c.want_progress != 0;
  options.want_filter = c.want_filter != 0;
  options.bandwidth_limit = c.bandwidth_limit;
  return options;
}

eac_error* ToC(Failure failure) {
  auto error = std::make_unique<OwnedError>();
  error->kind = static_cast<int32_t>(failure.status.kind());
  error->operation = static_cast<int32_t>(failure.status.operation());
  error->error_number = failure.status.error_number();
  error->destination_state = static_cast<int32_t>(failure.status.destination_state());
  error->offset = failure.status.offset();
  error->size = failure.status.size();
  error->available = failure.status.available();
  error->root = failure.root ? 1 : 0;
  error->source_text = std::move(failure.source);
  error->destination_text = std::move(failure.destination);
  error->source = error->source_text.c_str();
  error->destination = error->destination_text.c_str();
  error->peer_text = std::move(failure.text);
  error->text = error->peer_text.c_str();
  return error.release();  // the caller's, until eac_error_free
}

}  // namespace eacopy

extern "C" {

uint32_t eac_abi_version(void) { return 4; }

const char* eac_capabilities(void) { return eacopy::Capabilities(); }

int32_t eac_classify(int32_t error_number, int32_t operation) {
  return static_cast<int32_t>(eacopy::Classify(error_number, static_cast<eacopy::Operation>(operation)));
}

int eac_copy_file(const char* source, const char* destination, const eac_options* options, eac_error** error) {
  *error = nullptr;
  try {
    eacopy::Failure failure;
    const eacopy::CopyResult result = eacopy::CopySmallFile(source, destination, eacopy::FromC(*options), &failure);
    if (result == eacopy::CopyResult::kFailed) *error = eacopy::ToC(std::move(failure));
    return static_cast<int>(result);
  } catch (const std::exception&) {
    return EAC_RESULT_NEEDS_JOB;  // out of memory: the job's path will say so
  }
}

void eac_error_free(eac_error* error) { delete static_cast<OwnedError*>(error); }

eac_job* eac_job_new(const eac_options* options) {
  try {
    return std::make_unique<eac_job>(eacopy::FromC(*options)).release();
  } catch (const std::exception&) {
    return nullptr;
  }
}

eac_job* eac_job_new_delta(const eac_options* options, const eac_delta* delta) {
  try {
    const auto action = static_cast<eacopy::DeltaAction>(delta->action);
    eacopy::Delta with{action, delta->reference, delta->level, delta->allow_unchecked != 0};
    return std::make_unique<eac_job>(eacopy::FromC(*options), std::move(with)).release();
  } catch (const std::exception&) {
    return nullptr;
  }
}

int eac_job_add(eac_job* job, int item, const char* source, const char* destination) {
  try {
    return job->job.Add(static_cast<eacopy::ItemType>(item), source, destination) ? 1 : 0;
  } catch (const std::exception&) {
    return 0;
  }
}

void eac_job_end(eac_job* job) { job->job.End(); }

int eac_job_wait(eac_job* job, int timeout_milliseconds) { return job->job.Wait(timeout_milliseconds); }

int eac_job_take_progress(eac_job* job, eac_progress* progress) {
  if (!job->job.TakeProgress(&job->progress)) return 0;
  progress->count = job->progress.count();
  progress->copied = job->progress.copied.data();
  progress->total = job->progress.total.data();
  progress->first = job->progress.first.data();
  progress->paths = job->progress.paths.data();
  progress->paths_size = job->progress.paths.size();
  return 1;
}

int eac_job_take_filter(eac_job* job, eac_filter* filter) {
  if (!job->job.TakeFilter(&job->filter)) return 0;
  filter->ticket = job->filter.ticket;
  filter->count = job->filter.count;
  filter->directory = job->filter.directory.c_str();
  filter->names = job->filter.names.data();
  filter->names_size = job->filter.names.size();
  return 1;
}

void eac_job_answer_filter(eac_job* job, uint64_t ticket, const uint8_t* leave_out) {
  try {
    job->job.AnswerFilter(ticket, leave_out);
  } catch (const std::exception&) {
    job->job.Cancel();
  }
}

eac_error* eac_job_take_error(eac_job* job) {
  try {
    eacopy::Failure failure;
    return job->job.TakeFailure(&failure) ? eacopy::ToC(std::move(failure)) : nullptr;
  } catch (const std::exception&) {
    return nullptr;
  }
}

void eac_job_cancel(eac_job* job) { job->job.Cancel(); }

void eac_job_snapshot(eac_job* job, eac_counters* counters) {
  const eacopy::Counters sum = job->job.GetCounters();
  counters->files_found = sum.files_found;
  counters->bytes_found = sum.bytes_found;
  counters->files_copied = sum.files_copied;
  counters->symlinks_copied = sum.symlinks_copied;
  counters->directories_created = sum.directories_created;
  counters->files_skipped = sum.files_skipped;
  counters->bytes_copied = sum.bytes_copied;
  counters->errors = sum.errors;
  counters->retries = sum.retries;
  for (int i = 0; i < eacopy::kMethodCount; ++i) counters->methods[i] = sum.methods[i];
  counters->bytes_reused = sum.bytes_reused;
  counters->bytes_written = sum.bytes_written;
  counters->bytes_read = sum.bytes_read;
  counters->files_linked = sum.files_linked;
  counters->bytes_linked = sum.bytes_linked;
  counters->bytes_skipped = sum.bytes_skipped;
  counters->bytes_sent = sum.bytes_sent;
  counters->bytes_received = sum.bytes_received;
  counters->bytes_packed = sum.bytes_packed;
  counters->bytes_packed_level = sum.bytes_packed_level;
  counters->files_removed = sum.files_removed;
  counters->bytes_removed = sum.bytes_removed;
  counters->directories_removed = sum.directories_removed;
  counters->mismatches = sum.mismatches;
}

void eac_job_free(eac_job* job) { delete job; }

}  // extern "C"
