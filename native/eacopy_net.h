/* The C ABI of the engine's network service: copying through a server, and being one. The conventions are those of
 * eacopy_c.h; a server's functions may be called in any thread between eac_server_start and eac_server_free.
 */
#ifndef EACOPY_NET_H
#define EACOPY_NET_H

#include "eacopy_c.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cdef: begin */

enum eac_delta_mode {
  EAC_DELTA_NEVER = 0,
  EAC_DELTA_AUTO = 1,  /* for large files of which the other side has an older version, where both sides can */
  EAC_DELTA_ALWAYS = 2 /* for small ones too; that one side cannot is an error */
};

/* A server through which a job copies one item. */
typedef struct eac_remote {
  const char *host; /* name or address */
  uint16_t port;
  uint8_t push;                /* 1: the destination is on the server, 0: the source is */
  uint8_t plain;               /* 1: speak plain v20 even to a server that knows more */
  int32_t level;               /* zstd: 0 none, 1 to 22, -1 adapts to the wire */
  double timeout;              /* seconds that the server may be silent */
  const char *directory;       /* the path on the server: "share/dir", or absolute; '/' between names */
  const char *local_directory; /* the same place as this machine sees it, or NULL */
  const uint8_t *token;        /* NULL: none */
  size_t token_size;
  uint8_t delta;         /* eac_delta_mode */
  const char *reference; /* of one file: the path of the older version that is here; NULL: none */
} eac_remote;

enum eac_link_mode { EAC_LINK_AUTO = 0, EAC_LINK_HARD = 1, EAC_LINK_REFLINK = 2, EAC_LINK_NEVER = 3 };

typedef struct eac_share {
  const char *name;
  const char *directory; /* absolute */
} eac_share;

typedef struct eac_server_options {
  const char *host;  /* the address to listen at */
  uint16_t port;     /* 0: a free one */
  uint8_t link_mode; /* eac_link_mode */
  uint8_t link_by_name;
  uint8_t use_hash;
  uint8_t security_file;
  uint8_t compression;
  uint8_t delta;
  uint32_t thread_count; /* requests that are worked on at the same time */
  uint32_t max_connections;
  double idle_timeout;     /* seconds */
  const eac_share *shares; /* none: absolute paths, for clients of this machine */
  size_t share_count;
  const uint8_t *token; /* NULL: none */
  size_t token_size;
  uint64_t history_size;    /* entries, all shares together */
  const char *history_file; /* NULL: none */
  uint64_t link_min_size;   /* bytes */
} eac_server_options;

typedef struct eac_server_statistics {
  uint64_t connections; /* since the start */
  uint64_t active_connections;
  uint64_t bytes_sent; /* on the wire */
  uint64_t bytes_received;
  uint64_t files_sent;
  uint64_t files_received;
  uint64_t files_linked;
  uint64_t files_skipped;
  uint64_t bytes_linked;
  uint64_t bytes_skipped;
  uint64_t errors;
  uint64_t history_size;
  double uptime; /* seconds */
} eac_server_statistics;

typedef struct eac_server eac_server;

/* The same for one item that is copied through a server. What cannot be reached is told as an error of that item. */
eac_job *eac_job_new_remote(const eac_options *options, const eac_remote *remote);
/* How the server named itself; "" when none was reached. Valid until the next call. */
const char *eac_job_server(eac_job *job);

/* Starts a server, with threads of its own; NULL with *error set when it cannot listen. */
eac_server *eac_server_start(const eac_server_options *options, eac_error **error);
uint16_t eac_server_port(eac_server *server);
void eac_server_get_statistics(eac_server *server, eac_server_statistics *statistics);
/* Waits for a line of the log. 1: *level (10 debug, 20 info, 30 warning, 40 error) and *text (valid until the next
 * call) are set. Once the server was stopped nobody waits. For one thread at a
 * time. */
int eac_server_wait_log(eac_server *server, int timeout_milliseconds, int *level, const char **text);
/* Cuts all connections, removes what is unfinished, waits for the threads. The log can still be read. */
void eac_server_stop(eac_server *server);
void eac_server_free(eac_server *server);

/* cdef: end */

#ifdef __cplusplus
}
#endif

#endif
