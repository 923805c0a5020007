/* The C ABI of sync: jobs that bring trees, or files, up to date. The conventions are those of eacopy_c.h.
 */
#ifndef EACOPY_SYNC_C_H
#define EACOPY_SYNC_C_H

#include "eacopy_c.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cdef: begin */

/* `count` texts, each ended by NUL. */
typedef struct eac_texts {
  const char *texts;
  size_t count;
} eac_texts;

/* Which files a job brings up to date. Patterns have "*" and "?"; those with a "/" are compared with paths. */
typedef struct eac_sync {
  eac_texts files;           /* patterns: only these */
  eac_texts exclude_files;   /* patterns; what is left out is not purged either */
  eac_texts exclude_dirs;    /* patterns */
  eac_texts link_dirs;       /* older copies, whose files are linked to instead of copied */
  const char *link_database; /* a LINKDB file; "": none */
  const char *root; /* of file items: where link_dirs and the database see their destinations below; "": names alone */
  const char *include_attributes; /* letters: R read-only, H hidden */
  const char *exclude_attributes;
  uint64_t link_min_size; /* bytes; smaller files are copied */
  uint32_t max_depth;     /* levels of directories, the source itself being the first; 0: no limit */
  uint8_t subdirs;
  uint8_t empty_dirs;
  uint8_t purge;
  uint8_t flatten;
  uint8_t exclude_changed;
  uint8_t compare_bytes; /* instead of times */
  uint8_t link_by_name;
  uint8_t keep_dir_symlinks;
  uint8_t dir_times;
  uint8_t hard_links;
  uint8_t archive; /* owners and groups too */
  uint8_t dry_run;
  uint8_t want_actions; /* collect them */
} eac_sync;

/* What was done, or would be. */
enum eac_action {
  EAC_ACTION_COPY = 0,
  EAC_ACTION_OVERWRITE = 1,
  EAC_ACTION_LINK = 2,
  EAC_ACTION_SYMLINK = 3,
  EAC_ACTION_MAKE_DIRECTORY = 4,
  EAC_ACTION_REMOVE = 5,
  EAC_ACTION_REMOVE_DIRECTORY = 6,
  EAC_ACTION_MEND = 7
};

/* Actions since the last take: `count` records in columns. */
typedef struct eac_actions {
  size_t count;
  const uint8_t *types;     /* eac_action */
  const uint64_t *sizes;    /* bytes of the file */
  const char *sources;      /* `count` paths, each ended by NUL; an empty one: there is none */
  size_t sources_size;      /* all of it, NULs included */
  const char *destinations; /* the same */
  size_t destinations_size;
} eac_actions;

/* A job that brings its items up to date; NULL when memory or threads are short. */
eac_job *eac_job_new_sync(const eac_options *options, const eac_sync *sync);
/* What there is under EAC_NEWS_ACTION. The memory stays valid until the next call. 1: taken, 0: nothing. */
int eac_job_take_actions(eac_job *job, eac_actions *actions);
/* What could not be kept of files, and how often: *count texts, each ended by NUL. Call when the job is done; the
 * memory stays valid until the next call. */
const char *eac_job_not_kept(eac_job *job, size_t *count);

/* cdef: end */

#ifdef __cplusplus
}
#endif

#endif
