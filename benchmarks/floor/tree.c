/* The least that a copy of a tree can cost: the system calls of copy2 for every file, in N threads, and nothing else.
 *
 * usage: tree SOURCE DESTINATION THREADS
 * Prints the seconds from the first directory to the last join. It is no tool: a name that is too long, a link, or any
 * error ends it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 256 * 1024 };

/* A directory of the destination that exists and has still to be filled. */
struct directory {
  struct directory* next;
  char path[]; /* relative to both roots */
};

static int source_root, destination_root;
static mode_t umask_bits;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static struct directory* waiting;
static int unfinished;

static void must(int good, const char* what) {
  if (good) return;
  perror(what);
  exit(1);
}

static void push(const char* parent, const char* name) {
  struct directory* directory = malloc(sizeof *directory + strlen(parent) + strlen(name) + 2);
  must(directory != NULL, "malloc");
  sprintf(directory->path, "%s%s%s", parent, *parent && *name ? "/" : "", name);
  pthread_mutex_lock(&mutex);
  directory->next = waiting;
  waiting = directory;
  ++unfinished;
  pthread_cond_signal(&more);
  pthread_mutex_unlock(&mutex);
}

static struct directory* pop(void) {
  pthread_mutex_lock(&mutex);
  while (!waiting && unfinished) pthread_cond_wait(&more, &mutex);
  struct directory* directory = waiting;
  if (directory) waiting = directory->next;
  pthread_mutex_unlock(&mutex);
  return directory;
}

static void finish(void) {
  pthread_mutex_lock(&mutex);
  if (--unfinished == 0) pthread_cond_broadcast(&more);
  pthread_mutex_unlock(&mutex);
}

static void copy_attributes(int source, int destination) {
  char names[1024];
  const ssize_t size = flistxattr(source, names, sizeof names);
  must(size >= 0 || errno == ENOTSUP, "flistxattr");
  for (const char* name = names; size > 0 && name < names + size; name += strlen(name) + 1) {
    char value[4096];
    const ssize_t length = fgetxattr(source, name, value, sizeof value);
    must(length >= 0, "fgetxattr");
    must(fsetxattr(destination, name, value, (size_t)length, 0) == 0 || errno == ENOTSUP, "fsetxattr");
  }
}

static void copy_file(int source_directory, int destination_directory, const char* name, char* buffer) {
  const int source = openat(source_directory, name, O_RDONLY | O_CLOEXEC);
  must(source >= 0, name);
  struct stat st;
  must(fstat(source, &st) == 0, "fstat");
  const mode_t mode = st.st_mode & 07777;
  const int destination = openat(destination_directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 0777);
  must(destination >= 0, name);
  for (off_t left = st.st_size; left > 0;) {
    const ssize_t got = read(source, buffer, BUFFER);
    must(got > 0, "read");
    must(write(destination, buffer, (size_t)got) == got, "write");
    left -= got;
  }
  copy_attributes(source, destination);
  if (mode & (umask_bits | 07000)) must(fchmod(destination, mode) == 0, "fchmod");
  const struct timespec times[2] = {st.st_atim, st.st_mtim};
  must(futimens(destination, times) == 0, "futimens");
  close(source);
  close(destination);
}

static void fill(const struct directory* directory, char* buffer) {
  const char* path = *directory->path ? directory->path : ".";
  const int source = openat(source_root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const int destination = openat(destination_root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  must(source >= 0 && destination >= 0, path);
  DIR* listing = fdopendir(source);
  must(listing != NULL, "fdopendir");
  for (struct dirent* entry; (entry = readdir(listing));) {
    const char* name = entry->d_name;
    if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]))) continue;
    if (entry->d_type == DT_DIR) {
      must(mkdirat(destination, name, 0777) == 0, name);
      push(directory->path, name);
    } else {
      copy_file(source, destination, name, buffer);
    }
  }
  struct stat st;
  must(fstat(source, &st) == 0, "fstat");
  copy_attributes(source, destination);
  must(fchmod(destination, st.st_mode & 07777) == 0, "fchmod");
  const struct timespec times[2] = {st.st_atim, st.st_mtim};
  must(futimens(destination, times) == 0, "futimens");
  close(destination);
  closedir(listing);
}

static void* work(void* unused) {
  char* buffer = malloc(BUFFER);
  must(buffer != NULL, "malloc");
  for (struct directory* directory; (directory = pop());) {
    fill(directory, buffer);
    free(directory);
    finish();
  }
  free(buffer);
  return unused;
}

int main(int count, char** arguments) {
  if (count != 4) return 2;
  const int threads = atoi(arguments[3]);
  umask_bits = umask(0);
  umask(umask_bits);
  struct timespec start, end;
  clock_gettime(CLOCK_MONOTONIC, &start);
  must(mkdir(arguments[2], 0777) == 0, arguments[2]);
  source_root = open(arguments[1], O_RDONLY | O_DIRECTORY);
  destination_root = open(arguments[2], O_RDONLY | O_DIRECTORY);
  must(source_root >= 0 && destination_root >= 0, arguments[1]);
  push("", "");
  pthread_t* started = calloc((size_t)threads, sizeof *started);
  must(started != NULL, "calloc");
  for (int i = 0; i < threads; ++i) must(pthread_create(&started[i], NULL, work, NULL) == 0, "pthread_create");
  for (int i = 0; i < threads; ++i) pthread_join(started[i], NULL);
  clock_gettime(CLOCK_MONOTONIC, &end);
  printf("%.9f\n", (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9);
  return 0;
}
