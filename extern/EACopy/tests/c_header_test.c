/* The C header in plain C: a whole job, run by a C program's means. c_abi_test.cpp calls it. */
#include <stdlib.h>
#include <string.h>

#include "eacopy_c.h"

int copy_tree_in_c(const char *source, const char *destination, eac_counters *counters, char **first_error);

/* Returns how many errors there were, or -1. *first_error, if any, is to be freed. */
int copy_tree_in_c(const char *source, const char *destination, eac_counters *counters, char **first_error) {
  eac_options options;
  eac_job *job;
  eac_error *error;
  eac_progress progress;
  eac_filter filter;
  uint8_t *leave_out;
  int news = 0, errors = 0;

  memset(&options, 0, sizeof(options));
  options.buffer_size = 1 << 20;
  options.thread_count = 2;
  options.metadata = EAC_METADATA_STAT;
  options.reflink = EAC_REFLINK_AUTO;
  options.strategy = EAC_STRATEGY_RAISE;
  options.want_progress = 1;
  options.want_filter = 1;
  *first_error = NULL;
  if ((job = eac_job_new(&options)) == NULL) return -1;
  if (!eac_job_add(job, EAC_ITEM_TREE, source, destination)) errors = -1;
  eac_job_end(job);
  while (errors >= 0 && !(news & EAC_NEWS_DONE)) {
    news = eac_job_wait(job, 1000);
    if (news == 0) errors = -1;
    while (eac_job_take_filter(job, &filter)) {
      leave_out = calloc(filter.count + 1, 1);
      if (leave_out == NULL) return -1;
      eac_job_answer_filter(job, filter.ticket, leave_out);
      free(leave_out);
    }
    while (eac_job_take_progress(job, &progress)) {
      if (progress.count == 0 || progress.paths[progress.paths_size - 1] != '\0') errors = -1;
    }
    while ((error = eac_job_take_error(job)) != NULL) {
      if (errors++ == 0 && (*first_error = malloc(strlen(error->source) + 1)) != NULL) {
        memcpy(*first_error, error->source, strlen(error->source) + 1);
      }
      eac_error_free(error);
    }
  }
  eac_job_snapshot(job, counters);
  eac_job_free(job);
  return errors;
}
