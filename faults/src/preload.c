// Loaded before libc (LD_PRELOAD): lets one call on a regular file fail, or ends the process there.
//
//   FAULT_CALL    write | sync | rename        the kind of call
//   FAULT_AT      N                            the N-th of its kind, from 1
//   FAULT_EFFECT  kill | torn | short | intr | errno
//     kill: SIGKILL before the call; torn: half of the bytes, then SIGKILL; short: half of the bytes, told so; intr: EINTR
//     once; a number: this errno, from the N-th call on
//   FAULT_CLOCK   seconds by which the wall clock jumps ahead and back from one look at it to the next
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { NOTHING, KILL, TORN, SHORT, FAIL };

static int calls;

static int regular(int fd) {
  struct stat file;
  return fstat(fd, &file) == 0 && S_ISREG(file.st_mode);
}

static int effect(const char *call) {
  const char *kind = getenv("FAULT_CALL"), *at = getenv("FAULT_AT"), *what = getenv("FAULT_EFFECT");
  if (!kind || !at || !what || strcmp(kind, call)) return NOTHING;
  int number = __sync_add_and_fetch(&calls, 1), wanted = atoi(at);
  if (number < wanted) return NOTHING;
  if (number > wanted) {
    if (atoi(what) == 0) return NOTHING;
    errno = atoi(what);
    return FAIL;
  }
  if (!strcmp(what, "kill")) kill(getpid(), SIGKILL);
  if (!strcmp(what, "torn")) return TORN;
  if (!strcmp(what, "short")) return SHORT;
  errno = strcmp(what, "intr") ? atoi(what) : EINTR;
  return FAIL;
}

ssize_t write(int fd, const void *bytes, size_t count) {
  static ssize_t (*next)(int, const void *, size_t);
  if (!next) next = dlsym(RTLD_NEXT, "write");
  switch (regular(fd) ? effect("write") : NOTHING) {
    case FAIL: return -1;
    case TORN: next(fd, bytes, count / 2); kill(getpid(), SIGKILL); return -1;
    case SHORT: return next(fd, bytes, (count + 1) / 2);
    default: return next(fd, bytes, count);
  }
}

int fsync(int fd) {
  static int (*next)(int);
  if (!next) next = dlsym(RTLD_NEXT, "fsync");
  return effect("sync") ? -1 : next(fd);
}

int fdatasync(int fd) {
  static int (*next)(int);
  if (!next) next = dlsym(RTLD_NEXT, "fdatasync");
  return effect("sync") ? -1 : next(fd);
}

int rename(const char *from, const char *to) {
  static int (*next)(const char *, const char *);
  if (!next) next = dlsym(RTLD_NEXT, "rename");
  return effect("rename") ? -1 : next(from, to);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  static int (*next)(clockid_t, struct timespec *);
  static int looks;
  if (!next) next = dlsym(RTLD_NEXT, "clock_gettime");
  int outcome = next(clock, time);
  const char *jump = getenv("FAULT_CLOCK");
  if (jump && clock == CLOCK_REALTIME && outcome == 0) {
    time->tv_sec += (__sync_fetch_and_add(&looks, 1) % 2 ? -1 : 1) * atol(jump);
  }
  return outcome;
}
