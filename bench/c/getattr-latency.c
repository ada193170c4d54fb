/*
 * How long a file system takes to say the attributes of a file. Usage: getattr-latency FILE STOP
 *
 * Asks every two milliseconds, past the kernel's caches, until the file STOP exists; then prints how many microseconds
 * 99 of 100 answers took at most. Never: runs without end; a hundred thousand answers are enough.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ANSWERS_MAX 100000

static int ascending(const void *left, const void *right) {
  double difference = *(const double *)left - *(const double *)right;
  return difference < 0 ? -1 : difference > 0;
}

static double now_us(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

int main(int argc, char **argv) {
  static double answers[ANSWERS_MAX];
  int count = 0;
  if (argc != 3) {
    fprintf(stderr, "usage: getattr-latency FILE STOP\n");
    return 2;
  }
  while (count < ANSWERS_MAX && (count == 0 || access(argv[2], F_OK) != 0)) {
    struct statx attributes;
    double began = now_us();
    if (statx(AT_FDCWD, argv[1], AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &attributes) != 0) {
      perror(argv[1]);
      return 1;
    }
    answers[count++] = now_us() - began;
    usleep(2000);
  }
  qsort(answers, count, sizeof(double), ascending);
  printf("%.1f\n", answers[(int)(count * 0.99)]);
  return 0;
}
