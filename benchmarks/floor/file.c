/* The least that the copy of one file can cost: open, look, create, move the data, close, and nothing else.
 *
 * usage: file SOURCE DESTINATION-PREFIX COPIES THREADS
 * Makes COPIES copies named DESTINATION-PREFIX0, DESTINATION-PREFIX1..., one after another, and prints the seconds of all.
 * With more than one thread, the threads take turns at the pieces of the file. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Larger pieces fall out of the second-level cache between reading and writing. */
enum { PIECE = 512 * 1024 };

static int source, destination;
static off_t size;
static atomic_llong next;

static void must(int good, const char* what) {
  if (good) return;
  perror(what);
  exit(1);
}

static void* move_pieces(void* buffer) {
  for (;;) {
    const off_t offset = atomic_fetch_add(&next, PIECE);
    if (offset >= size) return NULL;
    const ssize_t got = pread(source, buffer, PIECE, offset);
    must(got > 0, "pread");
    must(pwrite(destination, buffer, (size_t)got, offset) == got, "pwrite");
  }
}

static void copy(const char* from, const char* to, int threads, char** buffers) {
  source = open(from, O_RDONLY | O_CLOEXEC);
  must(source >= 0, from);
  struct stat st;
  must(fstat(source, &st) == 0, "fstat");
  destination = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  must(destination >= 0, to);
  size = st.st_size;
  if (threads == 1) {
    for (off_t left = size; left > 0;) {
      const ssize_t got = read(source, buffers[0], PIECE);
      must(got > 0, "read");
      must(write(destination, buffers[0], (size_t)got) == got, "write");
      left -= got;
    }
  } else {
    pthread_t started[64];
    atomic_store(&next, 0);
    for (int i = 0; i < threads; ++i) {
      must(pthread_create(&started[i], NULL, move_pieces, buffers[i]) == 0, "pthread_create");
    }
    for (int i = 0; i < threads; ++i) pthread_join(started[i], NULL);
  }
  close(source);
  close(destination);
}

int main(int count, char** arguments) {
  if (count != 5) return 2;
  const int copies = atoi(arguments[3]);
  const int threads = atoi(arguments[4]);
  char* buffers[64];
  must(threads >= 1 && threads <= 64, "1 to 64 threads");
  for (int i = 0; i < threads; ++i) must((buffers[i] = malloc(PIECE)) != NULL, "malloc");
  char** names = calloc((size_t)copies, sizeof *names);
  must(names != NULL, "calloc");
  for (int i = 0; i < copies; ++i) must(asprintf(&names[i], "%s%d", arguments[2], i) > 0, "asprintf");
  struct timespec start, end;
  clock_gettime(CLOCK_MONOTONIC, &start);
  for (int i = 0; i < copies; ++i) copy(arguments[1], names[i], threads, buffers);
  clock_gettime(CLOCK_MONOTONIC, &end);
  printf("%.9f\n", (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9);
  return 0;
}
