/*
 * Asks for the attributes of FILE every millisecond, of the file system itself and not of the kernel's cache, for at most
 * SECONDS or until its standard input is closed. Prints the number of questions, and the median and 99th percentile of
 * their latencies in microseconds. Usage: getattr-latency FILE SECONDS
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

static double now_us(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static int by_size(const void *left, const void *right) {
  double difference = *(const double *)left - *(const double *)right;
  return (difference > 0) - (difference < 0);
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: getattr-latency FILE SECONDS\n");
    return 2;
  }
  double ends = now_us() + atof(argv[2]) * 1e6;
  size_t limit = (size_t)(atof(argv[2]) * 1000) + 1, count = 0;
  double *latencies = malloc(limit * sizeof *latencies);
  struct pollfd input = {.fd = 0, .events = POLLIN};
  /* Without input the pause is the whole millisecond; at its end there is something to read, the end of the file. */
  while (count < limit && now_us() < ends && poll(&input, 1, 1) == 0) {
    struct statx attributes;
    double asked = now_us();
    if (statx(AT_FDCWD, argv[1], AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &attributes) != 0) {
      perror(argv[1]);
      return 1;
    }
    latencies[count++] = now_us() - asked;
  }
  qsort(latencies, count, sizeof *latencies, by_size);
  printf("{\"count\":%zu,\"p50\":%.1f,\"p99\":%.1f}\n", count, latencies[count / 2], latencies[count * 99 / 100]);
  return 0;
}
