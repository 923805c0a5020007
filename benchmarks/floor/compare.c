/* The least that a delta of two large files can cost that nobody has indexed: to read both and compare them.
 *
 * usage: compare FILE FILE THREADS
 * Compares two files of one size that differ, block by block, and prints the seconds. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 256 * 1024, BLOCK = 4096, MOST_THREADS = 64 };

static int first, second;
static off_t size;
static atomic_llong next, differing;

static void must(int good, const char* what) {
  if (good) return;
  perror(what);
  exit(1);
}

static void* compare_pieces(void* buffers) {
  char *one = buffers, *other = one + PIECE;
  for (;;) {
    const off_t offset = atomic_fetch_add(&next, PIECE);
    if (offset >= size) return NULL;
    const ssize_t got = pread(first, one, PIECE, offset);
    must(got > 0 && pread(second, other, PIECE, offset) == got, "pread");
    long long found = 0;
    for (ssize_t at = 0; at < got; at += BLOCK) {
      found += memcmp(one + at, other + at, got - at < BLOCK ? (size_t)(got - at) : BLOCK) != 0;
    }
    atomic_fetch_add(&differing, found);
  }
}

int main(int count, char** arguments) {
  must(count == 4, "usage: compare FILE FILE THREADS");
  const int threads = atoi(arguments[3]);
  must(threads > 0 && threads <= MOST_THREADS, "THREADS");
  struct timespec start, end;
  clock_gettime(CLOCK_MONOTONIC, &start);
  first = open(arguments[1], O_RDONLY | O_CLOEXEC);
  second = open(arguments[2], O_RDONLY | O_CLOEXEC);
  struct stat info;
  must(first >= 0 && second >= 0 && fstat(first, &info) == 0, "open");
  size = info.st_size;
  pthread_t handles[MOST_THREADS];
  for (int i = 0; i < threads; i++) {
    char* buffers = malloc(2 * PIECE);
    must(buffers != NULL && pthread_create(&handles[i], NULL, compare_pieces, buffers) == 0, "pthread_create");
  }
  for (int i = 0; i < threads; i++) pthread_join(handles[i], NULL);
  clock_gettime(CLOCK_MONOTONIC, &end);
  printf("%.6f\n", (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9);
  return differing == 0 ? 2 : 0; /* what is the same throughout is no measurement */
}
