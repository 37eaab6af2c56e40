// Loaded before libc (LD_PRELOAD): lets one call on a file or a connection fail, or ends the process there.
//
//   FAULT_CALL    read | write | sync | rename   the kind of call, on regular files
//                 recv | send                    on sockets
//   FAULT_AT      N                            the N-th of its kind, from 1
//   FAULT_EFFECT  kill | torn | short | intr | errno
//     kill: SIGKILL before the call; torn: half of the bytes, then SIGKILL; short: half of the bytes, told so, on sockets
//     from the N-th call on; intr: EINTR once; a number: this errno, from the N-th call on
//   FAULT_CLOCK   seconds by which the wall clock jumps ahead and back from one look at it to the next
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { NOTHING, KILL, TORN, SHORT, FAIL };

static int calls;

static int regular(int fd) {
  struct stat file;
  return fstat(fd, &file) == 0 && S_ISREG(file.st_mode);
}

static size_t half(size_t count) { return (count + 1) / 2; }

static int effect(const char *call) {
  const char *kind = getenv("FAULT_CALL"), *at = getenv("FAULT_AT"), *what = getenv("FAULT_EFFECT");
  if (!kind || !at || !what || strcmp(kind, call)) return NOTHING;
  int number = __sync_add_and_fetch(&calls, 1), wanted = atoi(at);
  if (number < wanted) return NOTHING;
  if (number > wanted) {
    if (!strcmp(what, "short") && (!strcmp(call, "send") || !strcmp(call, "recv"))) return SHORT;
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
    case SHORT: return next(fd, bytes, half(count));
    default: return next(fd, bytes, count);
  }
}

ssize_t read(int fd, void *bytes, size_t count) {
  static ssize_t (*next)(int, void *, size_t);
  if (!next) next = dlsym(RTLD_NEXT, "read");
  int what = regular(fd) ? effect("read") : NOTHING;
  return what == FAIL ? -1 : next(fd, bytes, what == SHORT ? half(count) : count);
}

ssize_t recv(int fd, void *bytes, size_t count, int flags) {
  static ssize_t (*next)(int, void *, size_t, int);
  if (!next) next = dlsym(RTLD_NEXT, "recv");
  int what = effect("recv");
  return what == FAIL ? -1 : next(fd, bytes, what == SHORT ? half(count) : count, flags);
}

ssize_t send(int fd, const void *bytes, size_t count, int flags) {
  static ssize_t (*next)(int, const void *, size_t, int);
  if (!next) next = dlsym(RTLD_NEXT, "send");
  int what = effect("send");
  return what == FAIL ? -1 : next(fd, bytes, what == SHORT ? half(count) : count, flags);
}

// Short: the first half of the first piece, or nothing but it.
ssize_t writev(int fd, const struct iovec *pieces, int count) {
  static ssize_t (*next)(int, const struct iovec *, int);
  if (!next) next = dlsym(RTLD_NEXT, "writev");
  int what = regular(fd) ? NOTHING : effect("send");
  if (what == FAIL) return -1;
  if (what != SHORT || count < 1) return next(fd, pieces, count);
  while (count > 1 && pieces->iov_len == 0) pieces++, count--;
  struct iovec first = {pieces[0].iov_base, half(pieces[0].iov_len)};
  return next(fd, &first, 1);
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
