/*
 * Writes to MIB mebibytes of memory, twice, and gives them back. Usage: touch-memory MIB
 *
 * On a virtual machine, memory that the host has taken back returns at half a gigabyte per second. A measurement of
 * the page cache would measure that; so the memory is fetched just before it.
 */

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: touch-memory MIB\n");
    return 2;
  }
  size_t size = (size_t)atol(argv[1]) << 20;
  for (int round = 1; round <= 2; round++) {
    volatile char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 1;
    madvise((void *)memory, size, MADV_HUGEPAGE); /* fewer faults, the same memory */
    for (size_t i = 0; i < size; i += 4096) memory[i] = (char)round;
    munmap((void *)memory, size);
  }
  return 0;
}
