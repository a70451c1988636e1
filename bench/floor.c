/*
 * The floor under a load: one pread of the same bytes, in C.
 *
 *     floor MODE FILE OFFSET LENGTH ROUNDS     prints the nanoseconds of each round, a line each
 *
 * MODE fresh      into newly mapped anonymous memory: every page is touched for the first time
 *      warm       into the same memory again
 *      zero+warm  into the same memory again, after setting it to zero (timed)
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static char *map(size_t length) {
  char *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) fail("mmap");
  return at;
}

static void fill(int file, char *target, size_t length, off_t offset) {
  /* Linux reads at most 0x7ffff000 bytes a call. */
  for (size_t done = 0; done < length;) {
    ssize_t got = pread(file, target + done, length - done, offset + (off_t)done);
    if (got <= 0) fail("pread");
    done += (size_t)got;
  }
}

int main(int argc, char **argv) {
  if (argc != 6) {
    fprintf(stderr, "usage: floor fresh|warm|zero+warm FILE OFFSET LENGTH ROUNDS\n");
    return 2;
  }
  int is_fresh = strcmp(argv[1], "fresh") == 0;
  int zeroes = strcmp(argv[1], "zero+warm") == 0;
  off_t offset = strtoll(argv[3], NULL, 10);
  size_t length = strtoull(argv[4], NULL, 10);
  int rounds = atoi(argv[5]);
  char *warm = NULL;
  if (!is_fresh) {
    int file = open(argv[2], O_RDONLY);
    if (file < 0) fail(argv[2]);
    warm = map(length);
    fill(file, warm, length, offset);
    close(file);
  }
  for (int round = 0; round < rounds; round++) {
    double start = now();
    int file = open(argv[2], O_RDONLY);
    if (file < 0) fail(argv[2]);
    char *target = is_fresh ? map(length) : warm;
    if (zeroes) memset(target, 0, length);
    fill(file, target, length, offset);
    close(file);
    printf("%.0f\n", now() - start);
    if (is_fresh) munmap(target, length);
  }
  return 0;
}
