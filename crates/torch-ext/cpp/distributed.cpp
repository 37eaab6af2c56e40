// Several processes: libtorch's store of keys (TCPStore) and its collectives for tensors on CPUs (Gloo).
#define USE_C10D_GLOO 1
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <c10/util/Logging.h>
#include <cstdlib>
#include "guard.h"

using Store = c10::intrusive_ptr<c10d::Store>;
using Gloo = c10::intrusive_ptr<c10d::ProcessGroupGloo>;
using std::chrono::milliseconds;

namespace {

std::vector<uint8_t> bytes(const uint8_t* data, size_t len) { return {data, data + len}; }

// A collective under way, with the tensor that it reads and writes.
struct Work {
  std::vector<at::Tensor> tensors;
  c10::intrusive_ptr<c10d::Work> work;
};

}  // namespace

// `serve`: keep the keys in this process; `port` 0 is then any free one. Null on failure.
extern "C" Store* torch_ext_store_new(const char* host, uint16_t port, int serve, int64_t timeout_ms) {
  TORCH_EXT_GUARD(nullptr, {
    // What happens to connections is reported as errors; the backtraces of c10d's warnings are for who asks for them.
    constexpr int kErrors = 2;
    if (!std::getenv("TORCH_CPP_LOG_LEVEL")) FLAGS_caffe2_log_level = kErrors;
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = serve != 0;
    options.waitWorkers = false;
    options.timeout = milliseconds(timeout_ms);
    return new Store(c10::make_intrusive<c10d::TCPStore>(host, options));
  })
}

// Another connection to the same keys.
extern "C" Store* torch_ext_store_clone(const Store* store) {
  TORCH_EXT_GUARD(nullptr, return new Store((*store)->clone());)
}

extern "C" void torch_ext_store_free(Store* store) {
  try {
    delete store;
  } catch (...) {
  }
}

extern "C" int torch_ext_store_port(const Store* store) {
  TORCH_EXT_GUARD(-1, return static_cast<c10d::TCPStore&>(**store).getPort();)
}

extern "C" int torch_ext_store_set(const Store* store, const char* key, const uint8_t* data, size_t len) {
  TORCH_EXT_GUARD(0, (*store)->set(key, bytes(data, len)); return 1;)
}

// Sets a key that nobody has set; gives the value that is there then.
extern "C" int torch_ext_store_set_first(const Store* store, const char* key, const uint8_t* data, size_t len,
                                         void (*take)(void*, const uint8_t*, size_t), void* user) {
  TORCH_EXT_GUARD(0, {
    const auto value = (*store)->compareSet(key, {}, bytes(data, len));
    take(user, value.data(), value.size());
    return 1;
  })
}

// Waits until the key is set.
extern "C" int torch_ext_store_get(const Store* store, const char* key, int64_t timeout_ms,
                                   void (*take)(void*, const uint8_t*, size_t), void* user) {
  TORCH_EXT_GUARD(0, {
    (*store)->wait({key}, milliseconds(timeout_ms));
    const auto value = (*store)->get(key);
    take(user, value.data(), value.size());
    return 1;
  })
}

// 1 where the key is set, 0 where it is not, -1 on failure.
extern "C" int torch_ext_store_check(const Store* store, const char* key) {
  TORCH_EXT_GUARD(-1, return (*store)->check({key}) ? 1 : 0;)
}

// Adds to a number, 0 at first; -1 on failure.
extern "C" int64_t torch_ext_store_add(const Store* store, const char* key, int64_t by) {
  TORCH_EXT_GUARD(-1, return (*store)->add(key, by);)
}

// `host`: the name or address of this machine to listen at, `interface`: a network interface instead; both may be null.
extern "C" Gloo* torch_ext_gloo_new(const Store* store, const char* prefix, int rank, int size, const char* host,
                                    const char* interface, int64_t timeout_ms) {
  TORCH_EXT_GUARD(nullptr, {
    using Group = c10d::ProcessGroupGloo;
    auto options = Group::Options::create(milliseconds(timeout_ms));
    options->devices.push_back(interface ? Group::createDeviceForInterface(interface)
                               : host    ? Group::createDeviceForHostname(host)
                                         : Group::createDefaultDevice());
    Store own = c10::make_intrusive<c10d::PrefixStore>(prefix, *store);
    return new Gloo(c10::make_intrusive<Group>(own, rank, size, options));
  })
}

extern "C" void torch_ext_gloo_free(Gloo* gloo) {
  try {
    delete gloo;
  } catch (...) {
  }
}

// Starts the sum over all processes, in place.
extern "C" Work* torch_ext_gloo_all_reduce(const Gloo* gloo, const at::Tensor* tensor) {
  TORCH_EXT_GUARD(nullptr, {
    auto work = std::make_unique<Work>();
    work->tensors.push_back(*tensor);
    work->work = (*gloo)->allreduce(work->tensors);
    return work.release();
  })
}

// Starts copying the tensor of process `root` into that of every other.
extern "C" Work* torch_ext_gloo_broadcast(const Gloo* gloo, const at::Tensor* tensor, int root) {
  TORCH_EXT_GUARD(nullptr, {
    auto work = std::make_unique<Work>();
    work->tensors.push_back(*tensor);
    c10d::BroadcastOptions options;
    options.rootRank = root;
    work->work = (*gloo)->broadcast(work->tensors, options);
    return work.release();
  })
}

// 1 when done, 0 when not done in this time, -1 on failure.
extern "C" int torch_ext_work_wait(const Work* work, int64_t timeout_ms) {
  try {
    work->work->wait(milliseconds(timeout_ms));
    return 1;
  } catch (const std::exception&) {
    // A wait that took too long throws as a failed work does.
    if (!work->work->isCompleted()) return 0;
  }
  TORCH_EXT_GUARD(-1, work->work->wait(); return 1;)
}

extern "C" void torch_ext_work_free(Work* work) { delete work; }
