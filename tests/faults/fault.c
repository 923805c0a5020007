/* Injects errors at the boundary between a program and libc's system calls, and writes down which calls were made.
 *
 * Loaded with LD_PRELOAD. It works below every backend alike, because all of them go through libc.
 *
 * Calls are known by family: "read" stands for read, pread, readv..., "write", "chmod" and so on likewise. Two families are
 * finer than libc: "open_read" and "open_write" (by access mode), and "seek_data" and "seek_hole" (by whence).
 *
 * Three strings say what to do, as environment variables or as arguments of fault_configure():
 *   FAULT_WATCH  only calls on a path with this text in it are looked at; calls without a path always are. Unset: no call is.
 *   FAULT_LOG    file to append one line a call to: family, path, second path, argument, result, errno, injected, thread;
 *                separated by tabs, with odd bytes of paths as \xNN.
 *   FAULT_RULES  one rule a line, fields separated by tabs. The first field names families ("read|write", "*" for all), then:
 *                  skip=N  count=N  path=TEXT   which calls: after the first N, at most N, on a path with TEXT in it
 *                  errno=N | zero | short=N | corrupt     fail, answer 0, do at most N bytes, flip one byte that is written
 *                  delay=MILLISECONDS | run=SHELL COMMAND | signal=N     before the call
 *                  release=TEXT | type=N                                 what uname and statfs answer
 *                  fold                                  of "stat": a name that is not there is looked up in capitals,
 *                                                        as where case does not count
 * All rules that match a call are applied, but only the first of them that decides its result.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/vfs.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define MAX_RULES 32
#define PATH_SIZE 4400

enum outcome { REAL_CALL, FAIL, ZERO, SHORT, CORRUPT, FOLD };

struct rule {
    char families[128]; /* "|read|write|" */
    char path[512];
    char command[1024];
    char release[64];
    long skip, count; /* count < 0: for ever */
    long limit, delay, type;
    int error, signal;
    enum outcome outcome;
    atomic_long seen;
};

struct call {
    const char *family;
    char path[PATH_SIZE], path2[PATH_SIZE];
    long argument;
    struct rule *rule; /* decides the result; NULL: nothing is injected */
};

static struct rule rules[MAX_RULES];
static int rule_count;
static char watch[512];
static int log_descriptor = -1;
static volatile int active;
static __thread int inside; /* the shim's own calls are not looked at */

/* What libc would have done ------------------------------------------------------------------------------------- */

#define REAL(name)                                                   \
    static __typeof__(&name) real;                                   \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static long system_call(long number, long a, long b, long c) {
    static long (*real)(long, ...);
    if (!real) real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    return real(number, a, b, c, 0L, 0L, 0L);
}

/* Configuration ------------------------------------------------------------------------------------------------- */

static void parse_field(struct rule *rule, const char *field) {
    if (!strncmp(field, "skip=", 5)) rule->skip = atol(field + 5);
    else if (!strncmp(field, "count=", 6)) rule->count = atol(field + 6);
    else if (!strncmp(field, "path=", 5)) snprintf(rule->path, sizeof rule->path, "%s", field + 5);
    else if (!strncmp(field, "errno=", 6)) rule->outcome = FAIL, rule->error = atoi(field + 6);
    else if (!strcmp(field, "zero")) rule->outcome = ZERO;
    else if (!strncmp(field, "short=", 6)) rule->outcome = SHORT, rule->limit = atol(field + 6);
    else if (!strcmp(field, "corrupt")) rule->outcome = CORRUPT;
    else if (!strcmp(field, "fold")) rule->outcome = FOLD;
    else if (!strncmp(field, "delay=", 6)) rule->delay = atol(field + 6);
    else if (!strncmp(field, "run=", 4)) snprintf(rule->command, sizeof rule->command, "%s", field + 4);
    else if (!strncmp(field, "signal=", 7)) rule->signal = atoi(field + 7);
    else if (!strncmp(field, "release=", 8)) snprintf(rule->release, sizeof rule->release, "%s", field + 8);
    else if (!strncmp(field, "type=", 5)) rule->type = atol(field + 5);
    else {
        fprintf(stderr, "fault.c: unknown field of a rule: %s\n", field);
        abort();
    }
}

static void parse_rules(const char *text) {
    char *copy = strdup(text), *line_state = NULL;
    for (char *line = strtok_r(copy, "\n", &line_state); line; line = strtok_r(NULL, "\n", &line_state)) {
        if (rule_count == MAX_RULES) abort();
        struct rule *rule = &rules[rule_count++];
        memset(rule, 0, sizeof *rule);
        rule->count = -1;
        char *field_state = NULL;
        char *field = strtok_r(line, "\t", &field_state);
        snprintf(rule->families, sizeof rule->families, "|%s|", field);
        while ((field = strtok_r(NULL, "\t", &field_state))) parse_field(rule, field);
    }
    free(copy);
}

/* Starts anew with other rules; NULL for `watched` switches the shim off. Returns 0, or -1 when the log cannot be opened. */
int fault_configure(const char *text, const char *log, const char *watched) {
    inside++;
    active = 0;
    rule_count = 0;
    if (log_descriptor >= 0) system_call(SYS_close, log_descriptor, 0, 0);
    log_descriptor = -1;
    int result = 0;
    if (watched) {
        snprintf(watch, sizeof watch, "%s", watched);
        if (text) parse_rules(text);
        if (log && *log) {
            log_descriptor = (int)system_call(SYS_open, (long)log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
            if (log_descriptor < 0) result = -1;
        }
        active = 1;
    }
    inside--;
    return result;
}

__attribute__((constructor)) static void configure_from_environment(void) {
    if (getenv("FAULT_WATCH")) fault_configure(getenv("FAULT_RULES"), getenv("FAULT_LOG"), getenv("FAULT_WATCH"));
}

/* Paths --------------------------------------------------------------------------------------------------------- */

/* These leave errno alone: readdir tells its end from an error by an errno that the caller has set to 0. A path too long
 * for /proc comes out empty. */
static void path_of_descriptor(int fd, char *path) {
    int saved = errno;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long size = system_call(SYS_readlink, (long)link, (long)path, PATH_SIZE - 1);
    path[size < 0 ? 0 : size] = 0;
    errno = saved;
}

static void path_at(int directory, const char *name, char *path) {
    if (!name || !*name) {
        if (directory != AT_FDCWD) path_of_descriptor(directory, path);
        return;
    }
    if (*name == '/') {
        snprintf(path, PATH_SIZE, "%s", name);
        return;
    }
    if (directory == AT_FDCWD) {
        int saved = errno;
        if (system_call(SYS_getcwd, (long)path, PATH_SIZE, 0) < 0) *path = 0;
        errno = saved;
    } else {
        path_of_descriptor(directory, path);
    }
    size_t size = strlen(path);
    snprintf(path + size, PATH_SIZE - size, "/%s", name);
}

/* One call ------------------------------------------------------------------------------------------------------ */

static void start_call(struct call *call, const char *family, long argument) {
    call->family = family;
    call->path[0] = call->path2[0] = 0;
    call->argument = argument;
    call->rule = NULL;
}

static int has(const struct call *call, const char *text) {
    return !*text || strstr(call->path, text) || strstr(call->path2, text);
}

static void sleep_milliseconds(long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&time, &time) < 0 && errno == EINTR) {}
}

static void run_command(char *command) {
    char *arguments[] = {"sh", "-c", command, NULL};
    char *environment[] = {"PATH=/usr/bin:/bin:/usr/sbin:/sbin", NULL};
    pid_t child;
    if (posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environment) == 0) waitpid(child, NULL, 0);
}

/* Applies the rules that come before the call. Returns 0 when the call is of no interest. */
static int enter(struct call *call) {
    if (!active || inside) return 0;
    int without_path = !call->path[0] && !call->path2[0];
    if (!without_path && !has(call, watch)) return 0;
    int saved = errno;
    inside++;
    char needle[64];
    snprintf(needle, sizeof needle, "|%s|", call->family);
    for (int i = 0; i < rule_count; i++) {
        struct rule *rule = &rules[i];
        if (strcmp(rule->families, "|*|") && !strstr(rule->families, needle)) continue;
        if (!has(call, rule->path)) continue;
        long seen = atomic_fetch_add(&rule->seen, 1);
        if (seen < rule->skip || (rule->count >= 0 && seen >= rule->skip + rule->count)) continue;
        if (rule->delay) sleep_milliseconds(rule->delay);
        if (rule->command[0]) run_command(rule->command);
        if (rule->signal) kill(getpid(), rule->signal);
        if (!call->rule && (rule->outcome != REAL_CALL || rule->release[0] || rule->type)) call->rule = rule;
    }
    inside--;
    errno = saved;
    return 1;
}

static char *append_escaped(char *out, const char *end, const char *text) {
    for (; *text && out + 8 < end; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c >= 0x7f || c == '\\') out += sprintf(out, "\\x%02x", c);
        else *out++ = (char)c;
    }
    return out;
}

static long leave(struct call *call, long result) {
    int saved = errno;
    if (log_descriptor >= 0) {
        static __thread char line[2 * PATH_SIZE + 256];
        char *end = line + sizeof line - 200, *out = line;
        out += sprintf(out, "%s\t", call->family);
        out = append_escaped(out, line + PATH_SIZE, call->path);
        *out++ = '\t';
        out = append_escaped(out, end, call->path2);
        out += sprintf(out, "\t%ld\t%ld\t%d\t%d\t%ld\n", call->argument, result, result == -1 ? saved : 0,
                       call->rule != NULL, system_call(SYS_gettid, 0, 0, 0));
        system_call(SYS_write, log_descriptor, (long)line, out - line);
    }
    errno = saved;
    return result;
}

static int outcome(const struct call *call) { return call->rule ? call->rule->outcome : REAL_CALL; }

/* True when the real call must not be made; its result is then *result. */
static int decided(struct call *call, long *result) {
    if (outcome(call) == FAIL) {
        errno = call->rule->error;
        *result = -1;
        return 1;
    }
    *result = 0;
    return outcome(call) == ZERO;
}

static size_t shortened(const struct call *call, size_t size) {
    return outcome(call) == SHORT && (size_t)call->rule->limit < size ? (size_t)call->rule->limit : size;
}

/* For the calls that answer the errno instead of setting it. */
static int leave_with_number(struct call *call, int number) {
    int saved = errno;
    errno = number;
    leave(call, number ? -1 : 0);
    errno = saved;
    return number;
}

/* The body of a wrapper whose paths are set already: injects, or makes the real call. */
#define ANSWER(call, real_call)                     \
    do {                                            \
        long result_;                               \
        if (!decided(&(call), &result_)) result_ = (long)(real_call); \
        return (__typeof__(real_call))leave(&(call), result_); \
    } while (0)

#define BEGIN_DESCRIPTOR(family, fd, argument, real_call)   \
    struct call call;                                       \
    if (!active || inside) return real_call;                \
    start_call(&call, family, (long)(argument));            \
    path_of_descriptor(fd, call.path);                      \
    if (!enter(&call)) return real_call

#define BEGIN_AT(family, directory, name, argument, real_call) \
    struct call call;                                          \
    if (!active || inside) return real_call;                   \
    start_call(&call, family, (long)(argument));               \
    path_at(directory, name, call.path);                       \
    if (!enter(&call)) return real_call

#define BEGIN_AT2(family, directory, name, directory2, name2, argument, real_call) \
    struct call call;                                          \
    if (!active || inside) return real_call;                   \
    start_call(&call, family, (long)(argument));               \
    path_at(directory, name, call.path);                       \
    path_at(directory2, name2, call.path2);                    \
    if (!enter(&call)) return real_call

/* Reading and writing ------------------------------------------------------------------------------------------- */

#define READ_BODY(real_full, real_short)                            \
    BEGIN_DESCRIPTOR("read", fd, count, real_full);                 \
    size_t size = shortened(&call, count);                          \
    ANSWER(call, real_short)

ssize_t read(int fd, void *buffer, size_t count) {
    REAL(read);
    READ_BODY(real(fd, buffer, count), real(fd, buffer, size));
}
ssize_t __read_chk(int fd, void *buffer, size_t count, size_t room) {
    if (count > room) abort();
    return read(fd, buffer, count);
}
ssize_t pread(int fd, void *buffer, size_t count, off_t offset) {
    REAL(pread);
    READ_BODY(real(fd, buffer, count, offset), real(fd, buffer, size, offset));
}
ssize_t pread64(int fd, void *buffer, size_t count, off64_t offset) { return pread(fd, buffer, count, offset); }
ssize_t readv(int fd, const struct iovec *vector, int count) {
    REAL(readv);
    BEGIN_DESCRIPTOR("read", fd, count, real(fd, vector, count));
    ANSWER(call, real(fd, vector, count));
}
ssize_t preadv(int fd, const struct iovec *vector, int count, off_t offset) {
    REAL(preadv);
    BEGIN_DESCRIPTOR("read", fd, count, real(fd, vector, count, offset));
    ANSWER(call, real(fd, vector, count, offset));
}
ssize_t preadv64(int fd, const struct iovec *vector, int count, off64_t offset) { return preadv(fd, vector, count, offset); }

/* The caller's buffer, or a copy of it with one byte flipped. */
static const void *outgoing(const struct call *call, const void *buffer, size_t size, void **copy) {
    *copy = NULL;
    if (outcome(call) != CORRUPT || !size) return buffer;
    *copy = malloc(size);
    memcpy(*copy, buffer, size);
    ((unsigned char *)*copy)[size / 2] ^= 0xff;
    return *copy;
}

#define WRITE_BODY(real_full, real_short)                           \
    BEGIN_DESCRIPTOR("write", fd, count, real_full);                \
    size_t size = shortened(&call, count);                          \
    void *copy;                                                     \
    const void *data = outgoing(&call, buffer, size, &copy);        \
    long result;                                                    \
    if (!decided(&call, &result)) result = real_short;              \
    free(copy);                                                     \
    return leave(&call, result)

ssize_t write(int fd, const void *buffer, size_t count) {
    REAL(write);
    WRITE_BODY(real(fd, buffer, count), real(fd, data, size));
}
ssize_t pwrite(int fd, const void *buffer, size_t count, off_t offset) {
    REAL(pwrite);
    WRITE_BODY(real(fd, buffer, count, offset), real(fd, data, size, offset));
}
ssize_t pwrite64(int fd, const void *buffer, size_t count, off64_t offset) { return pwrite(fd, buffer, count, offset); }
ssize_t writev(int fd, const struct iovec *vector, int count) {
    REAL(writev);
    BEGIN_DESCRIPTOR("write", fd, count, real(fd, vector, count));
    ANSWER(call, real(fd, vector, count));
}
ssize_t pwritev(int fd, const struct iovec *vector, int count, off_t offset) {
    REAL(pwritev);
    BEGIN_DESCRIPTOR("write", fd, count, real(fd, vector, count, offset));
    ANSWER(call, real(fd, vector, count, offset));
}
ssize_t pwritev64(int fd, const struct iovec *vector, int count, off64_t offset) { return pwritev(fd, vector, count, offset); }

/* Copying inside the kernel ------------------------------------------------------------------------------------- */

/* Flips the byte of `out` at `to`, whose right value is that of `in` at `from`. */
static void spoil(int in, off_t from, int out, off_t to) {
    unsigned char byte = 0;
    inside++;
    if (pread(in, &byte, 1, from) == 1) {
        byte ^= 0xff;
        if (pwrite(out, &byte, 1, to) != 1) abort();
    }
    inside--;
}

static off_t position(int fd, const off_t *explicit_position) {
    return explicit_position ? *explicit_position : (off_t)system_call(SYS_lseek, fd, 0, SEEK_CUR);
}

ssize_t copy_file_range(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t count, unsigned flags) {
    REAL(copy_file_range);
    struct call call;
    if (!active || inside) return real(in, in_offset, out, out_offset, count, flags);
    start_call(&call, "copy_file_range", (long)count);
    path_of_descriptor(in, call.path);
    path_of_descriptor(out, call.path2);
    if (!enter(&call)) return real(in, in_offset, out, out_offset, count, flags);
    long result;
    if (!decided(&call, &result)) result = real(in, in_offset, out, out_offset, shortened(&call, count), flags);
    if (result > 0 && outcome(&call) == CORRUPT) spoil(in, position(in, in_offset) - 1, out, position(out, out_offset) - 1);
    return leave(&call, result);
}

ssize_t sendfile(int out, int in, off_t *offset, size_t count) {
    REAL(sendfile);
    struct call call;
    if (!active || inside) return real(out, in, offset, count);
    start_call(&call, "sendfile", (long)count);
    path_of_descriptor(in, call.path);
    path_of_descriptor(out, call.path2);
    if (!enter(&call)) return real(out, in, offset, count);
    long result;
    if (!decided(&call, &result)) result = real(out, in, offset, shortened(&call, count));
    if (result > 0 && outcome(&call) == CORRUPT) spoil(in, position(in, offset) - 1, out, position(out, NULL) - 1);
    return leave(&call, result);
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t count) { return sendfile(out, in, offset, count); }

ssize_t splice(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t count, unsigned flags) {
    REAL(splice);
    BEGIN_DESCRIPTOR("splice", in, count, real(in, in_offset, out, out_offset, count, flags));
    ANSWER(call, real(in, in_offset, out, out_offset, shortened(&call, count), flags));
}

int ioctl(int fd, unsigned long request, ...) {
    REAL(ioctl);
    va_list list;
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    struct call call;
    if (!active || inside) return real(fd, request, argument);
    int in = -1;
    if (request == FICLONE) in = (int)(long)argument;
    if (request == FICLONERANGE) in = (int)((struct file_clone_range *)argument)->src_fd;
    const char *family = in >= 0 ? "clone" : request == FS_IOC_SETFLAGS ? "setflags" : request == FS_IOC_GETFLAGS ? "getflags" : "ioctl";
    start_call(&call, family, (long)request);
    if (in >= 0) path_of_descriptor(in, call.path);
    path_of_descriptor(fd, call.path2);
    if (!enter(&call)) return real(fd, request, argument);
    long result;
    if (!decided(&call, &result)) result = real(fd, request, argument);
    if (result == 0 && in >= 0 && outcome(&call) == CORRUPT) spoil(in, 0, fd, 0);
    return (int)leave(&call, result);
}

off_t lseek(int fd, off_t offset, int whence) {
    REAL(lseek);
    BEGIN_DESCRIPTOR(whence == SEEK_DATA ? "seek_data" : whence == SEEK_HOLE ? "seek_hole" : "seek", fd, offset, real(fd, offset, whence));
    ANSWER(call, real(fd, offset, whence));
}
off64_t lseek64(int fd, off64_t offset, int whence) { return lseek(fd, offset, whence); }

/* Opening and closing ------------------------------------------------------------------------------------------- */

static int open_common(int directory, const char *name, int flags, mode_t mode) {
    REAL(openat);
    BEGIN_AT((flags & O_ACCMODE) == O_RDONLY ? "open_read" : "open_write", directory, name, flags, real(directory, name, flags, mode));
    ANSWER(call, real(directory, name, flags, mode));
}

#define OPEN_MODE                              \
    mode_t mode = 0;                           \
    if (flags & (O_CREAT | __O_TMPFILE)) {     \
        va_list list;                          \
        va_start(list, flags);                 \
        mode = va_arg(list, mode_t);           \
        va_end(list);                          \
    }

int open(const char *name, int flags, ...) {
    OPEN_MODE
    return open_common(AT_FDCWD, name, flags, mode);
}
int open64(const char *name, int flags, ...) {
    OPEN_MODE
    return open_common(AT_FDCWD, name, flags, mode);
}
int openat(int directory, const char *name, int flags, ...) {
    OPEN_MODE
    return open_common(directory, name, flags, mode);
}
int openat64(int directory, const char *name, int flags, ...) {
    OPEN_MODE
    return open_common(directory, name, flags, mode);
}
int __open_2(const char *name, int flags) { return open_common(AT_FDCWD, name, flags, 0); }
int __open64_2(const char *name, int flags) { return open_common(AT_FDCWD, name, flags, 0); }
int __openat_2(int directory, const char *name, int flags) { return open_common(directory, name, flags, 0); }
int __openat64_2(int directory, const char *name, int flags) { return open_common(directory, name, flags, 0); }
int creat(const char *name, mode_t mode) { return open_common(AT_FDCWD, name, O_WRONLY | O_CREAT | O_TRUNC, mode); }
int creat64(const char *name, mode_t mode) { return creat(name, mode); }

int close(int fd) {
    REAL(close);
    BEGIN_DESCRIPTOR("close", fd, fd, real(fd));
    long result = real(fd); /* as in Linux, the descriptor is gone whatever close answers */
    long injected;
    if (decided(&call, &injected)) result = injected;
    return (int)leave(&call, result);
}

DIR *opendir(const char *name) {
    REAL(opendir);
    BEGIN_AT("open_read", AT_FDCWD, name, O_DIRECTORY, real(name));
    long result;
    if (decided(&call, &result)) {
        leave(&call, -1);
        return NULL;
    }
    DIR *stream = real(name);
    leave(&call, stream ? 0 : -1);
    return stream;
}

/* readdir tells of an error by NULL and errno. */
#define READDIR(name, type)                                 \
    struct type *name(DIR *stream) {                        \
        REAL(name);                                         \
        BEGIN_DESCRIPTOR("readdir", dirfd(stream), 0, real(stream)); \
        if (outcome(&call) == FAIL) {                       \
            errno = call.rule->error;                       \
            leave(&call, -1);                               \
            return NULL;                                    \
        }                                                   \
        struct type *entry = real(stream);                  \
        leave(&call, entry != NULL);                        \
        return entry;                                       \
    }
READDIR(readdir, dirent)
READDIR(readdir64, dirent64)

/* Metadata ------------------------------------------------------------------------------------------------------ */

static void to_capitals(const char *text, char *capitals) {
    for (int left = PATH_SIZE - 1; *text && left; text++, left--) {
        *capitals++ = *text >= 'a' && *text <= 'z' ? *text - 'a' + 'A' : *text;
    }
    *capitals = 0;
}

#define STAT_AT(name, type)                                                            \
    int name(int directory, const char *restrict path, struct type *restrict result_buffer, int flags) { \
        REAL(name);                                                                    \
        BEGIN_AT("stat", directory, path, flags, real(directory, path, result_buffer, flags)); \
        if (outcome(&call) == FOLD) {                                                  \
            int result = real(directory, path, result_buffer, flags);                  \
            char capitals[PATH_SIZE];                                                  \
            if (result == 0 || errno != ENOENT) return leave(&call, result);           \
            to_capitals(path, capitals);                                               \
            return leave(&call, real(directory, capitals, result_buffer, flags));      \
        }                                                                              \
        ANSWER(call, real(directory, path, result_buffer, flags));                     \
    }
#define STAT_PATH(name, type, flags)                                                   \
    int name(const char *restrict path, struct type *restrict result_buffer) {         \
        REAL(name);                                                                    \
        BEGIN_AT("stat", AT_FDCWD, path, flags, real(path, result_buffer));            \
        ANSWER(call, real(path, result_buffer));                                       \
    }
#define STAT_DESCRIPTOR(name, type)                                                    \
    int name(int fd, struct type *result_buffer) {                                     \
        REAL(name);                                                                    \
        BEGIN_DESCRIPTOR("stat", fd, 0, real(fd, result_buffer));                      \
        ANSWER(call, real(fd, result_buffer));                                         \
    }
STAT_AT(fstatat, stat)
STAT_AT(fstatat64, stat64)
STAT_PATH(stat, stat, 0)
STAT_PATH(stat64, stat64, 0)
STAT_PATH(lstat, stat, AT_SYMLINK_NOFOLLOW)
STAT_PATH(lstat64, stat64, AT_SYMLINK_NOFOLLOW)
STAT_DESCRIPTOR(fstat, stat)
STAT_DESCRIPTOR(fstat64, stat64)

/* The type of a file system can be exchanged: what a program does on NFS shows without one. */
#define STATFS(name, type_of_buffer, first, begin)                                     \
    int name(first, struct type_of_buffer *result_buffer) {                            \
        REAL(name);                                                                    \
        begin;                                                                         \
        long result;                                                                   \
        if (!decided(&call, &result)) result = real(target, result_buffer);            \
        if (!result && call.rule && call.rule->type) result_buffer->f_type = call.rule->type; \
        return (int)leave(&call, result);                                              \
    }
STATFS(statfs, statfs, const char *target, BEGIN_AT("statfs", AT_FDCWD, target, 0, real(target, result_buffer)))
STATFS(statfs64, statfs64, const char *target, BEGIN_AT("statfs", AT_FDCWD, target, 0, real(target, result_buffer)))
STATFS(fstatfs, statfs, int target, BEGIN_DESCRIPTOR("statfs", target, 0, real(target, result_buffer)))
STATFS(fstatfs64, statfs64, int target, BEGIN_DESCRIPTOR("statfs", target, 0, real(target, result_buffer)))

int statx(int directory, const char *restrict path, int flags, unsigned mask, struct statx *restrict result_buffer) {
    REAL(statx);
    BEGIN_AT("stat", directory, path, flags, real(directory, path, flags, mask, result_buffer));
    ANSWER(call, real(directory, path, flags, mask, result_buffer));
}

int fchmod(int fd, mode_t mode) {
    REAL(fchmod);
    BEGIN_DESCRIPTOR("chmod", fd, mode, real(fd, mode));
    ANSWER(call, real(fd, mode));
}
int chmod(const char *path, mode_t mode) {
    REAL(chmod);
    BEGIN_AT("chmod", AT_FDCWD, path, mode, real(path, mode));
    ANSWER(call, real(path, mode));
}
int fchmodat(int directory, const char *path, mode_t mode, int flags) {
    REAL(fchmodat);
    BEGIN_AT("chmod", directory, path, mode, real(directory, path, mode, flags));
    ANSWER(call, real(directory, path, mode, flags));
}

int futimens(int fd, const struct timespec times[2]) {
    REAL(futimens);
    BEGIN_DESCRIPTOR("utime", fd, 0, real(fd, times));
    ANSWER(call, real(fd, times));
}
int utimensat(int directory, const char *path, const struct timespec times[2], int flags) {
    REAL(utimensat);
    BEGIN_AT("utime", directory, path, flags, real(directory, path, times, flags));
    ANSWER(call, real(directory, path, times, flags));
}

int setxattr(const char *path, const char *name, const void *value, size_t size, int flags) {
    REAL(setxattr);
    BEGIN_AT("setxattr", AT_FDCWD, path, size, real(path, name, value, size, flags));
    ANSWER(call, real(path, name, value, size, flags));
}
int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags) {
    REAL(lsetxattr);
    BEGIN_AT("setxattr", AT_FDCWD, path, size, real(path, name, value, size, flags));
    ANSWER(call, real(path, name, value, size, flags));
}
int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags) {
    REAL(fsetxattr);
    BEGIN_DESCRIPTOR("setxattr", fd, size, real(fd, name, value, size, flags));
    ANSWER(call, real(fd, name, value, size, flags));
}
ssize_t getxattr(const char *path, const char *name, void *value, size_t size) {
    REAL(getxattr);
    BEGIN_AT("getxattr", AT_FDCWD, path, size, real(path, name, value, size));
    ANSWER(call, real(path, name, value, size));
}
ssize_t lgetxattr(const char *path, const char *name, void *value, size_t size) {
    REAL(lgetxattr);
    BEGIN_AT("getxattr", AT_FDCWD, path, size, real(path, name, value, size));
    ANSWER(call, real(path, name, value, size));
}
ssize_t fgetxattr(int fd, const char *name, void *value, size_t size) {
    REAL(fgetxattr);
    BEGIN_DESCRIPTOR("getxattr", fd, size, real(fd, name, value, size));
    ANSWER(call, real(fd, name, value, size));
}
ssize_t listxattr(const char *path, char *list, size_t size) {
    REAL(listxattr);
    BEGIN_AT("listxattr", AT_FDCWD, path, size, real(path, list, size));
    ANSWER(call, real(path, list, size));
}
ssize_t llistxattr(const char *path, char *list, size_t size) {
    REAL(llistxattr);
    BEGIN_AT("listxattr", AT_FDCWD, path, size, real(path, list, size));
    ANSWER(call, real(path, list, size));
}
ssize_t flistxattr(int fd, char *list, size_t size) {
    REAL(flistxattr);
    BEGIN_DESCRIPTOR("listxattr", fd, size, real(fd, list, size));
    ANSWER(call, real(fd, list, size));
}

/* Sizes and durability ------------------------------------------------------------------------------------------ */

int ftruncate(int fd, off_t size) {
    REAL(ftruncate);
    BEGIN_DESCRIPTOR("truncate", fd, size, real(fd, size));
    ANSWER(call, real(fd, size));
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }
int truncate(const char *path, off_t size) {
    REAL(truncate);
    BEGIN_AT("truncate", AT_FDCWD, path, size, real(path, size));
    ANSWER(call, real(path, size));
}
int truncate64(const char *path, off64_t size) { return truncate(path, size); }
int fallocate(int fd, int mode, off_t offset, off_t size) {
    REAL(fallocate);
    BEGIN_DESCRIPTOR("fallocate", fd, mode, real(fd, mode, offset, size));
    ANSWER(call, real(fd, mode, offset, size));
}
int fallocate64(int fd, int mode, off64_t offset, off64_t size) { return fallocate(fd, mode, offset, size); }
int posix_fallocate(int fd, off_t offset, off_t size) {
    REAL(posix_fallocate);
    BEGIN_DESCRIPTOR("fallocate", fd, 0, real(fd, offset, size));
    return leave_with_number(&call, outcome(&call) == FAIL ? call.rule->error : real(fd, offset, size));
}
int posix_fallocate64(int fd, off64_t offset, off64_t size) { return posix_fallocate(fd, offset, size); }
int fsync(int fd) {
    REAL(fsync);
    BEGIN_DESCRIPTOR("fsync", fd, 0, real(fd));
    ANSWER(call, real(fd));
}
int fdatasync(int fd) {
    REAL(fdatasync);
    BEGIN_DESCRIPTOR("fsync", fd, 0, real(fd));
    ANSWER(call, real(fd));
}
int syncfs(int fd) {
    REAL(syncfs);
    BEGIN_DESCRIPTOR("syncfs", fd, 0, real(fd));
    ANSWER(call, real(fd));
}

/* Names --------------------------------------------------------------------------------------------------------- */

int rename(const char *from, const char *to) {
    REAL(rename);
    BEGIN_AT2("rename", AT_FDCWD, from, AT_FDCWD, to, 0, real(from, to));
    ANSWER(call, real(from, to));
}
int renameat(int from_directory, const char *from, int to_directory, const char *to) {
    REAL(renameat);
    BEGIN_AT2("rename", from_directory, from, to_directory, to, 0, real(from_directory, from, to_directory, to));
    ANSWER(call, real(from_directory, from, to_directory, to));
}
int renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags) {
    REAL(renameat2);
    BEGIN_AT2("rename", from_directory, from, to_directory, to, flags, real(from_directory, from, to_directory, to, flags));
    ANSWER(call, real(from_directory, from, to_directory, to, flags));
}
int link(const char *from, const char *to) {
    REAL(link);
    BEGIN_AT2("link", AT_FDCWD, from, AT_FDCWD, to, 0, real(from, to));
    ANSWER(call, real(from, to));
}
int linkat(int from_directory, const char *from, int to_directory, const char *to, int flags) {
    REAL(linkat);
    BEGIN_AT2("link", from_directory, from, to_directory, to, flags, real(from_directory, from, to_directory, to, flags));
    ANSWER(call, real(from_directory, from, to_directory, to, flags));
}
int unlink(const char *path) {
    REAL(unlink);
    BEGIN_AT("unlink", AT_FDCWD, path, 0, real(path));
    ANSWER(call, real(path));
}
int unlinkat(int directory, const char *path, int flags) {
    REAL(unlinkat);
    BEGIN_AT(flags & AT_REMOVEDIR ? "rmdir" : "unlink", directory, path, flags, real(directory, path, flags));
    ANSWER(call, real(directory, path, flags));
}
int rmdir(const char *path) {
    REAL(rmdir);
    BEGIN_AT("rmdir", AT_FDCWD, path, 0, real(path));
    ANSWER(call, real(path));
}
int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    BEGIN_AT("mkdir", AT_FDCWD, path, mode, real(path, mode));
    ANSWER(call, real(path, mode));
}
int mkdirat(int directory, const char *path, mode_t mode) {
    REAL(mkdirat);
    BEGIN_AT("mkdir", directory, path, mode, real(directory, path, mode));
    ANSWER(call, real(directory, path, mode));
}
int symlink(const char *target, const char *path) {
    REAL(symlink);
    BEGIN_AT("symlink", AT_FDCWD, path, 0, real(target, path));
    ANSWER(call, real(target, path));
}
int symlinkat(const char *target, int directory, const char *path) {
    REAL(symlinkat);
    BEGIN_AT("symlink", directory, path, 0, real(target, directory, path));
    ANSWER(call, real(target, directory, path));
}
ssize_t readlink(const char *restrict path, char *restrict buffer, size_t size) {
    REAL(readlink);
    BEGIN_AT("readlink", AT_FDCWD, path, size, real(path, buffer, size));
    ANSWER(call, real(path, buffer, size));
}
ssize_t readlinkat(int directory, const char *restrict path, char *restrict buffer, size_t size) {
    REAL(readlinkat);
    BEGIN_AT("readlink", directory, path, size, real(directory, path, buffer, size));
    ANSWER(call, real(directory, path, buffer, size));
}

/* Without a path ------------------------------------------------------------------------------------------------ */

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
    REAL(pthread_create);
    struct call call;
    start_call(&call, "thread", 0);
    if (!enter(&call)) return real(thread, attributes, start, argument);
    return leave_with_number(&call, outcome(&call) == FAIL ? call.rule->error : real(thread, attributes, start, argument));
}

int uname(struct utsname *name) {
    REAL(uname);
    struct call call;
    start_call(&call, "uname", 0);
    if (!enter(&call)) return real(name);
    int result = real(name);
    if (call.rule && call.rule->release[0]) snprintf(name->release, sizeof name->release, "%s", call.rule->release);
    return (int)leave(&call, result);
}

/* A caller that names the system call by number must not slip through. */
long syscall(long number, ...) {
    static long (*real)(long, ...);
    if (!real) real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
    va_end(list);
    if (active && !inside) {
        switch (number) {
        case SYS_copy_file_range:
            return copy_file_range((int)a[0], (off64_t *)a[1], (int)a[2], (off64_t *)a[3], (size_t)a[4], (unsigned)a[5]);
        case SYS_sendfile: return sendfile((int)a[0], (int)a[1], (off_t *)a[2], (size_t)a[3]);
        case SYS_renameat2: return renameat2((int)a[0], (const char *)a[1], (int)a[2], (const char *)a[3], (unsigned)a[4]);
        case SYS_statx: return statx((int)a[0], (const char *)a[1], (int)a[2], (unsigned)a[3], (struct statx *)a[4]);
        case SYS_openat: return openat((int)a[0], (const char *)a[1], (int)a[2], (mode_t)a[3]);
        case SYS_ioctl: return ioctl((int)a[0], (unsigned long)a[1], (void *)a[2]);
#ifdef SYS_openat2
        case SYS_openat2: {
            unsigned long long flags = *(unsigned long long *)a[2];
            BEGIN_AT((flags & O_ACCMODE) == O_RDONLY ? "open_read" : "open_write", (int)a[0], (const char *)a[1], flags,
                     real(number, a[0], a[1], a[2], a[3], a[4], a[5]));
            ANSWER(call, real(number, a[0], a[1], a[2], a[3], a[4], a[5]));
        }
#endif
        case SYS_getdents64: {
            BEGIN_DESCRIPTOR("readdir", (int)a[0], a[2], real(number, a[0], a[1], a[2], a[3], a[4], a[5]));
            ANSWER(call, real(number, a[0], a[1], a[2], a[3], a[4], a[5]));
        }
#ifdef SYS_io_uring_setup
        case SYS_io_uring_setup: {
            struct call call;
            start_call(&call, "io_uring", 0);
            enter(&call);
            ANSWER(call, real(number, a[0], a[1], a[2], a[3], a[4], a[5]));
        }
#endif
        default: break;
        }
    }
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* getdents64 has a libc wrapper since 2.30. */
ssize_t getdents64(int fd, void *buffer, size_t size) {
    REAL(getdents64);
    BEGIN_DESCRIPTOR("readdir", fd, size, real(fd, buffer, size));
    ANSWER(call, real(fd, buffer, size));
}
