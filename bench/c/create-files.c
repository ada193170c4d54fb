/* Creates COUNT files of SIZE bytes in DIR, one after the other: open, write, close. Usage: create-files DIR COUNT SIZE */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc != 4 || chdir(argv[1]) != 0) {
    fprintf(stderr, "usage: create-files DIR COUNT SIZE\n");
    return 2;
  }
  long count = atol(argv[2]);
  size_t size = (size_t)atol(argv[3]);
  char *bytes = malloc(size);
  for (size_t i = 0; i < size; i++) bytes[i] = (char)(i % 251);
  for (long i = 0; i < count; i++) {
    char name[32];
    snprintf(name, sizeof name, "file-%07ld", i);
    int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size || close(fd) != 0) {
      perror(name);
      return 1;
    }
  }
  free(bytes);
  return 0;
}
