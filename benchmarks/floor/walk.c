/* The least that finding two trees alike can cost: both sides of every directory are listed, and every file is looked
 * at on both sides, in N threads, and nothing else.
 *
 * usage: walk SOURCE DESTINATION THREADS
 * Prints the seconds from the first directory to the last join. It is no tool: a path that is too long, or any error,
 * ends it, and so does a file of which the size or the time differs. Links are not compared. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A directory that has still to be compared. */
struct directory {
  struct directory* next;
  char path[]; /* relative to both roots */
};

static int source_root, destination_root;
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
  sprintf(directory->path, "%s/%s", parent, name);
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

static DIR* open_directory(int root, const char* path) {
  const int descriptor = openat(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  must(descriptor >= 0, path);
  DIR* stream = fdopendir(descriptor);
  must(stream != NULL, "fdopendir");
  return stream;
}

static void compare_file(int source_directory, int destination_directory, const char* name) {
  struct stat source, destination;
  must(fstatat(source_directory, name, &source, AT_SYMLINK_NOFOLLOW) == 0, name);
  must(fstatat(destination_directory, name, &destination, AT_SYMLINK_NOFOLLOW) == 0, name);
  if (S_ISREG(source.st_mode) &&
      (source.st_size != destination.st_size || source.st_mtim.tv_sec != destination.st_mtim.tv_sec ||
       source.st_mtim.tv_nsec != destination.st_mtim.tv_nsec)) {
    fprintf(stderr, "walk: %s differs\n", name);
    exit(1);
  }
}

static void compare_directory(const struct directory* directory) {
  DIR* source = open_directory(source_root, directory->path);
  DIR* destination = open_directory(destination_root, directory->path);
  while (readdir(destination)) continue;
  for (const struct dirent* entry; (entry = readdir(source));) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    if (entry->d_type == DT_DIR)
      push(directory->path, entry->d_name);
    else
      compare_file(dirfd(source), dirfd(destination), entry->d_name);
  }
  closedir(source);
  closedir(destination);
}

static void* work(void* unused) {
  struct directory* directory;
  while ((directory = pop())) {
    compare_directory(directory);
    free(directory);
    finish();
  }
  return unused;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int count, char** arguments) {
  if (count != 4) return fprintf(stderr, "usage: walk SOURCE DESTINATION THREADS\n"), 2;
  source_root = open(arguments[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  destination_root = open(arguments[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  must(source_root >= 0 && destination_root >= 0, "open");
  const int threads = atoi(arguments[3]);
  must(threads > 0 && threads <= 64, "THREADS");

  const double start = now();
  push(".", "");
  pthread_t others[64];
  for (int thread = 0; thread < threads; ++thread)
    must(pthread_create(&others[thread], NULL, work, NULL) == 0, "pthread_create");
  for (int thread = 0; thread < threads; ++thread) pthread_join(others[thread], NULL);
  printf("%.6f\n", now() - start);
  return 0;
}
