// Stops a host that reads or writes the memory of a device, whose addresses are never mapped.
#include <execinfo.h>
#include <signal.h>
#include <unistd.h>

#include "memory.h"

namespace fake {
namespace {

// What handled the signal before: every other fault is left to it.
struct sigaction before;

void on_fault(int signal, siginfo_t* info, void* context) {
  if (is_device(info->si_addr)) {
    static const char text[] = "fake-cuda: THE HOST TOUCHES DEVICE MEMORY\n";
    (void)!write(2, text, sizeof(text) - 1);
    void* frames[64];
    backtrace_symbols_fd(frames, backtrace(frames, 64), 2);
    _exit(139);
  }
  sigaction(SIGSEGV, &before, nullptr);
  (void)signal, (void)context;
}

struct Installed {
  Installed() {
    void* frames[1];
    backtrace(frames, 1);  // loads what it needs now
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &before);
  }
} installed;

}  // namespace
}  // namespace fake
