/* The C ABI of the EACopy engine: what a foreign language needs to run copy jobs.
 *
 * Conventions:
 * 1. Paths are NUL-terminated byte strings: the file system's own bytes on POSIX, UTF-8 (lone surrogates
 *    encoded as WTF-8) on Windows. The engine keeps no pointer to an argument after a call returns.
 * 2. No function throws, prints, or touches global state. An error is an eac_error that the caller frees.
 * 3. A job belongs to one coordinating thread, which alone calls its functions. eac_job_cancel and
 *    eac_job_snapshot are the exceptions: any thread may call them between eac_job_new and eac_job_free.
 * 4. The engine never calls back. What the workers want to say is fetched by the coordinator:
 *    eac_job_wait tells what there is, an eac_job_take_* function takes it.
 * 5. Sizes and offsets are in bytes, durations in seconds.
 * 6. Everything between the two "cdef" lines is read by build_ffi.py, and so must be plain declarations.
 */
#ifndef EACOPY_C_H
#define EACOPY_C_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* cdef: begin */

/* What went wrong, in the words a caller acts on. The order is part of the ABI. */
enum eac_kind {
  EAC_KIND_OK = 0,
  EAC_KIND_IO = 1,
  EAC_KIND_FFI = 2,
  EAC_KIND_PATH = 3,
  EAC_KIND_FILE_NOT_FOUND = 4,
  EAC_KIND_DIRECTORY_NOT_FOUND = 5,
  EAC_KIND_PERMISSION_DENIED = 6,
  EAC_KIND_DESTINATION_EXISTS = 7,
  EAC_KIND_INVALID_ARGUMENT = 8,
  EAC_KIND_NETWORK = 9,
  EAC_KIND_TIMEOUT = 10,
  EAC_KIND_ENCODING = 11,
  EAC_KIND_PYTHON = 12,
  EAC_KIND_FILE_TOO_LARGE = 13,
  EAC_KIND_DISK_FULL = 14,
  EAC_KIND_READ_ERROR = 15,
  EAC_KIND_WRITE_ERROR = 16,
  EAC_KIND_INTERRUPTED = 17,
  EAC_KIND_SERVER = 18,
  EAC_KIND_CLIENT = 19,
  EAC_KIND_DELTA_COPY = 20,
  EAC_KIND_UNSUPPORTED = 21,
  EAC_KIND_CONFIGURATION = 22,
  EAC_KIND_UNKNOWN = 23
};

/* What was being done when it went wrong. */
enum eac_operation {
  EAC_OPERATION_NONE = 0,
  EAC_OPERATION_OPEN_SOURCE = 1,
  EAC_OPERATION_OPEN_DESTINATION = 2,
  EAC_OPERATION_READ = 3,
  EAC_OPERATION_WRITE = 4,
  EAC_OPERATION_CLONE = 5,
  EAC_OPERATION_COPY = 6, /* one call that reads and writes: copy_file_range, sendfile */
  EAC_OPERATION_TRUNCATE = 7,
  EAC_OPERATION_SYNC = 8,
  EAC_OPERATION_CLOSE = 9,
  EAC_OPERATION_RENAME = 10,
  EAC_OPERATION_SET_MODE = 11,
  EAC_OPERATION_SET_TIMES = 12,
  EAC_OPERATION_SET_ATTRIBUTES = 13, /* extended attributes, flags, ACLs */
  EAC_OPERATION_LIST_DIRECTORY = 14,
  EAC_OPERATION_MAKE_DIRECTORY = 15,
  EAC_OPERATION_READ_LINK = 16,
  EAC_OPERATION_MAKE_LINK = 17,
  EAC_OPERATION_REMOVE = 18,
  EAC_OPERATION_STAT = 19,
  EAC_OPERATION_VERIFY = 20,
  EAC_OPERATION_SAME_FILE = 21,      /* source and destination are one file */
  EAC_OPERATION_SPECIAL_FILE = 22,   /* a FIFO, or in a tree a device */
  EAC_OPERATION_START = 23,          /* starting threads, allocating */
  EAC_OPERATION_CONNECT = 24,        /* reaching a server, and agreeing on a version: nothing was begun */
  EAC_OPERATION_AUTHENTICATE = 25,   /* proving a token or the security file */
  EAC_OPERATION_SEND = 26,           /* to the peer */
  EAC_OPERATION_RECEIVE = 27,        /* from the peer: also when it sends what the protocol does not know */
  EAC_OPERATION_LISTEN = 28,         /* a server's address */
  EAC_OPERATION_OPEN_REFERENCE = 29, /* of a delta */
  EAC_OPERATION_READ_REFERENCE = 30,
  EAC_OPERATION_READ_PATCH = 31
};

/* The state in which a failed or stopped copy left its destination. */
enum eac_destination {
  EAC_DESTINATION_ABSENT = 0,
  EAC_DESTINATION_OLD = 1,
  EAC_DESTINATION_PARTIAL = 2,
  EAC_DESTINATION_UNKNOWN = 3 /* it is on a server */
};

enum eac_metadata {
  EAC_METADATA_NONE = 0, /* shutil.copyfile */
  EAC_METADATA_MODE = 1, /* shutil.copy */
  EAC_METADATA_STAT = 2  /* shutil.copy2: mode, times, extended attributes, flags */
};

enum eac_reflink { EAC_REFLINK_AUTO = 0, EAC_REFLINK_ALWAYS = 1, EAC_REFLINK_NEVER = 2 };

enum eac_strategy { EAC_STRATEGY_RAISE = 0, EAC_STRATEGY_RETRY = 1, EAC_STRATEGY_IGNORE = 2 };

enum eac_item { EAC_ITEM_FILE = 0, EAC_ITEM_TREE = 1 };

/* How the data of a file was moved; index into eac_counters.methods. */
enum eac_method {
  EAC_METHOD_CLONE = 0,
  EAC_METHOD_COPY_FILE_RANGE = 1,
  EAC_METHOD_SENDFILE = 2,
  EAC_METHOD_READ_WRITE = 3,
  EAC_METHOD_SYSTEM = 4, /* CopyFile2 on Windows, fcopyfile on macOS */
  EAC_METHOD_COUNT = 5
};

typedef struct eac_options {
  uint64_t buffer_size;             /* most bytes one read or write moves, 1 or more */
  double retry_delay;               /* seconds between two tries of one file */
  uint32_t retry_count;             /* further tries after the first, under EAC_STRATEGY_RETRY */
  uint32_t thread_count;            /* 1 or more */
  uint8_t metadata;                 /* eac_metadata */
  uint8_t reflink;                  /* eac_reflink */
  uint8_t strategy;                 /* eac_strategy */
  uint8_t follow_symlinks;          /* 0: a symlink is copied as a symlink */
  uint8_t ignore_dangling_symlinks; /* trees, following: leave out links that lead nowhere */
  uint8_t dirs_exist_ok;            /* trees: directories of the destination may exist */
  uint8_t into_directory;           /* files: a destination that is a directory takes the file in */
  uint8_t atomic;                   /* temporary sibling and rename */
  uint8_t fsync;
  uint8_t verify;
  uint8_t want_progress;    /* collect progress records */
  uint8_t want_filter;      /* trees: ask which names to leave out of each directory */
  uint64_t bandwidth_limit; /* bytes a second that all workers write, or send, together; 0: no limit */
} eac_options;

typedef struct eac_error {
  int32_t kind;              /* eac_kind */
  int32_t operation;         /* eac_operation */
  int32_t error_number;      /* errno; 0 when the operating system was not asked */
  int32_t destination_state; /* eac_destination */
  uint64_t offset;           /* where in the file, for reading and writing */
  uint64_t size;             /* FILE_TOO_LARGE: of the file; DISK_FULL: needed */
  uint64_t available;        /* DISK_FULL: free bytes */
  uint8_t root;              /* the item itself failed, not something inside a tree */
  const char *source;        /* full path as the caller would write it; "" when there is none */
  const char *destination;   /* same */
  const char *text;          /* what the peer or the library said about it; "" when nothing */
} eac_error;

typedef struct eac_counters {
  uint64_t files_found; /* so far; final when all directories are listed */
  uint64_t bytes_found;
  uint64_t files_copied;
  uint64_t symlinks_copied;
  uint64_t directories_created;
  uint64_t files_skipped;
  uint64_t bytes_copied; /* grows while a file is copied; holes are counted */
  uint64_t errors;
  uint64_t retries;
  uint64_t methods[5];   /* files by eac_method */
  uint64_t bytes_reused; /* of deltas: taken from the reference */
  uint64_t bytes_written;
  uint64_t bytes_read;
  uint64_t files_linked; /* through a server, or of a sync */
  uint64_t bytes_linked;
  uint64_t bytes_skipped;
  uint64_t bytes_sent; /* on the wire, all connections; through a server, as the next three */
  uint64_t bytes_received;
  uint64_t bytes_packed;       /* content bytes that went compressed */
  uint64_t bytes_packed_level; /* the sum of each such byte's zstd level: divided by bytes_packed, the average */
  uint64_t files_removed;      /* of a sync, as all below */
  uint64_t bytes_removed;
  uint64_t directories_removed;
  uint64_t mismatches; /* files where a directory is to go, and the reverse */
} eac_counters;

/* Progress since the last take: `count` records in columns. A record with copied == total and first != 0
 * says that the file was begun and finished: the caller reports (0, total) and then (total, total). */
typedef struct eac_progress {
  size_t count;
  const uint64_t *copied;
  const uint64_t *total;
  const uint8_t *first; /* 1: begins the file (again, after a retry) */
  const char *paths;    /* `count` source paths, each ended by NUL */
  size_t paths_size;    /* all of it, NULs included */
} eac_progress;

/* A directory whose names the caller may thin out before it is copied. */
typedef struct eac_filter {
  uint64_t ticket;
  size_t count;
  const char *directory; /* source path */
  const char *names;     /* `count` names, each ended by NUL */
  size_t names_size;
} eac_filter;

enum eac_delta_action { EAC_DELTA_COPY = 0, EAC_DELTA_CREATE = 1, EAC_DELTA_APPLY = 2 };

/* What is made with the help of a reference: a copy, a patch (the destination), or what a patch (the source) makes. */
typedef struct eac_delta {
  const char *reference;
  int32_t level;           /* zstd: of a new patch, 1 to 22 */
  uint8_t action;          /* eac_delta_action */
  uint8_t allow_unchecked; /* apply a patch that has no checksum */
} eac_delta;

typedef struct eac_job eac_job;

/* Bits of eac_job_wait. */
enum eac_news {
  EAC_NEWS_PROGRESS = 1,
  EAC_NEWS_FILTER = 2,
  EAC_NEWS_ERROR = 4,
  EAC_NEWS_ROOM = 8,
  EAC_NEWS_DONE = 16,
  EAC_NEWS_ACTION = 32
};

/* Results of eac_copy_file. */
enum eac_result { EAC_RESULT_COPIED = 0, EAC_RESULT_FAILED = 1, EAC_RESULT_NEEDS_JOB = 2, EAC_RESULT_COPIED_INTO = 3 };

uint32_t eac_abi_version(void);

/* Comma-separated names of what this build and this machine can do. Static storage. */
const char *eac_capabilities(void);

/* The kind for an errno met in an operation; the table that the engine itself uses. */
int32_t eac_classify(int32_t error_number, int32_t operation);

/* Copies one small file in the calling thread. A file that is too large for that is left for a job, before
 * anything is touched (NEEDS_JOB). COPIED_INTO: the destination was a directory and took the file in.
 * On FAILED *error is set; free it with eac_error_free. */
int eac_copy_file(const char *source, const char *destination, const eac_options *options, eac_error **error);
void eac_error_free(eac_error *error);

/* A new job without items; NULL when memory or threads are short. */
eac_job *eac_job_new(const eac_options *options);
/* The same for files that are made with the help of a reference. */
eac_job *eac_job_new_delta(const eac_options *options, const eac_delta *delta);
/* Queues an item (eac_item). 1: taken, 0: the queue is full, wait for EAC_NEWS_ROOM. */
int eac_job_add(eac_job *job, int item, const char *source, const char *destination);
/* No more items will come. */
void eac_job_end(eac_job *job);
/* Waits until there is news or the time is over; returns the bits of what there is. Starts the work. */
int eac_job_wait(eac_job *job, int timeout_milliseconds);
/* The memory behind these stays valid until the same function is called again. 1: taken, 0: nothing. */
int eac_job_take_progress(eac_job *job, eac_progress *progress);
int eac_job_take_filter(eac_job *job, eac_filter *filter);
/* `leave_out` has one byte a name; not 0 leaves the name out. */
void eac_job_answer_filter(eac_job *job, uint64_t ticket, const uint8_t *leave_out);
/* The oldest error not yet taken, or NULL. Free it with eac_error_free. */
eac_error *eac_job_take_error(eac_job *job);
void eac_job_cancel(eac_job *job);
void eac_job_snapshot(eac_job *job, eac_counters *counters);
/* Cancels what still runs, waits for the threads, frees all. */
void eac_job_free(eac_job *job);

/* cdef: end */

#ifdef __cplusplus
}
#endif

#endif
