// Recording what is put into a CUDA stream once, and repeating it.
//
// `at::cuda::CUDAGraph` is in libtorch_cuda, which is not linked, and its header wants CUDA's: its members are looked up by
// their names in the loaded library, and the object is bytes (ATen/cuda/CUDAGraph.h of PyTorch 2.11: some 150 of them).
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include "guard.h"

namespace torch_ext {
std::string lib_dir();
}

namespace {

constexpr size_t OBJECT_BYTES = 4096;
// `cudaStreamCaptureModeThreadLocal` (driver_types.h): what other threads do meanwhile is no concern.
constexpr unsigned THREAD_LOCAL = 1;

// Constructor, destructor, capture_begin, capture_end, replay.
constexpr const char* NAMES[] = {
    "_ZN2at4cuda9CUDAGraphC1Eb",
    "_ZN2at4cuda9CUDAGraphD1Ev",
    "_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode",
    "_ZN2at4cuda9CUDAGraph11capture_endEv",
    "_ZN2at4cuda9CUDAGraph6replayEv",
};
constexpr size_t COUNT = sizeof(NAMES) / sizeof(NAMES[0]);

typedef std::pair<unsigned long long, unsigned long long> Pool;

struct Members {
  void (*construct)(void*, bool);
  void (*destroy)(void*);
  void (*begin)(void*, Pool, unsigned);
  void (*end)(void*);
  void (*replay)(void*);
};

Members find() {
  void* library = dlopen((torch_ext::lib_dir() + "libtorch_cuda.so").c_str(), RTLD_NOW | RTLD_NOLOAD);
  if (library == nullptr) throw std::runtime_error("libtorch_cuda is not loaded");
  void* found[COUNT];
  for (size_t i = 0; i < COUNT; ++i) {
    found[i] = dlsym(library, NAMES[i]);
    if (found[i] == nullptr) throw std::runtime_error(std::string("libtorch_cuda has no ") + NAMES[i]);
  }
  return {reinterpret_cast<void (*)(void*, bool)>(found[0]), reinterpret_cast<void (*)(void*)>(found[1]),
          reinterpret_cast<void (*)(void*, Pool, unsigned)>(found[2]), reinterpret_cast<void (*)(void*)>(found[3]),
          reinterpret_cast<void (*)(void*)>(found[4])};
}

const Members& members() {
  static const Members found = find();
  return found;
}

// Makes a device current, and puts back the one before.
struct OnDevice {
  const c10::impl::VirtualGuardImpl guard{c10::kCUDA};
  const c10::Device before;
  explicit OnDevice(c10::Device device) : before(guard.exchangeDevice(device)) {}
  ~OnDevice() { guard.uncheckedSetDevice(before); }
};

// Makes a stream current, and puts back the one before.
struct OnStream {
  const c10::impl::VirtualGuardImpl& guard;
  const c10::Stream before;
  OnStream(const c10::impl::VirtualGuardImpl& guard, c10::Stream stream)
      : guard(guard), before(guard.exchangeStream(stream)) {}
  ~OnStream() { guard.exchangeStream(before); }
};

struct Graph {
  alignas(64) unsigned char object[OBJECT_BYTES];
  const c10::Device device;
  explicit Graph(c10::Device device) : device(device) { members().construct(object, false); }
  ~Graph() { members().destroy(object); }
};

typedef int (*run_fn)(void* user);

// The stream of all recordings on a device: cuBLAS keeps a workspace for each stream (32 MiB on Hopper) until the process ends.
// Called under `recording_lock`.
c10::Stream recording_stream(const c10::impl::VirtualGuardImpl& guard, c10::Device device) {
  static std::map<c10::DeviceIndex, c10::Stream> streams;
  auto found = streams.find(device.index());
  if (found == streams.end()) found = streams.emplace(device.index(), guard.getStreamFromGlobalPool(device)).first;
  return found->second;
}

std::mutex& recording_lock() {
  static std::mutex one;
  return one;
}

void call(run_fn run, void* user) {
  if (run(user) == 0) throw std::runtime_error("the recorded closure failed");
}

}  // namespace

// The names that have to be in libtorch_cuda; null behind the last.
extern "C" const char* torch_ext_graph_symbol(size_t index) { return index < COUNT ? NAMES[index] : nullptr; }

// Calls `run` twice on a stream of its own: once to bring up what is made lazily, once recorded. Null on failure.
extern "C" Graph* torch_ext_graph_capture(int index, run_fn run, void* user) {
  TORCH_EXT_GUARD(
      nullptr, const c10::Device device(c10::kCUDA, static_cast<c10::DeviceIndex>(index)); const OnDevice on(device);
      auto graph = std::make_unique<Graph>(device); on.guard.getStream(device).synchronize();
      const std::lock_guard<std::mutex> alone(recording_lock());
      const OnStream side(on.guard, recording_stream(on.guard, device)); call(run, user);
      const c10::Stream stream = on.guard.getStream(device); stream.synchronize();
      members().begin(graph->object, Pool(0, 0), THREAD_LOCAL);
      try { call(run, user); } catch (...) {
        // Ends the recording, which is of no use; the first failure is the one that counts.
        try { members().end(graph->object); } catch (...) {}
        throw;
      } members().end(graph->object);
      stream.synchronize(); return graph.release();)
}

// Puts the recorded work into the current stream.
extern "C" int torch_ext_graph_replay(Graph* graph) {
  TORCH_EXT_GUARD(0, const OnDevice on(graph->device); members().replay(graph->object); return 1;)
}

extern "C" void torch_ext_graph_free(Graph* graph) {
  try {
    const OnDevice on(graph->device);
    delete graph;
  } catch (...) {
    // The device is gone, and the graph with it.
  }
}
