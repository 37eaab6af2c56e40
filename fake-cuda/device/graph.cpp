// `at::cuda::CUDAGraph` under its own names: the program looks its members up in this library.
//
// While a thread records, its operations are carried out, since their shapes have to be known; when the recording ends, what
// they wrote is taken back, and memory of the graph is filled with NaN, since a real recording computes nothing.
#include "graph.h"

#include <c10/util/Exception.h>

#include <atomic>
#include <cstring>
#include <unordered_map>
#include <vector>

#include "counts.h"
#include "memory.h"

namespace fake {
namespace {

struct Kept {
  void* address;
  std::vector<char> bytes;
};

struct Graph {
  uint64_t id = 0;
  std::vector<std::function<void()>> work;
  std::vector<Kept> kept;
  bool spoiled = false;
  bool ready = false;
};

thread_local Graph* open = nullptr;

}  // namespace

bool is_recording() { return open != nullptr; }

void record(std::function<void()> work) {
  if (open != nullptr) open->work.push_back(std::move(work));
}

void keep(void* address, size_t bytes) {
  if (open == nullptr || bytes == 0) return;
  const void* device = of_twin(address);
  if (device == nullptr || in_pool(device, open->id)) return;
  const char* from = static_cast<char*>(address);
  open->kept.push_back({address, std::vector<char>(from, from + bytes)});
}

void refuse_while_recording(const char* what) {
  if (open == nullptr) return;
  open->spoiled = true;
  TORCH_CHECK(false, "CUDA error: operation not permitted when stream is capturing (", what, ")");
}

}  // namespace fake

// The object is the program's bytes; it holds a pointer to ours.
namespace at::cuda {

struct __attribute__((visibility("default"))) CUDAGraph {
  fake::Graph* graph;
  explicit CUDAGraph(bool keep_graph);
  ~CUDAGraph();
  void capture_begin(std::pair<unsigned long long, unsigned long long> pool, unsigned mode);
  void capture_end();
  void replay();
};

CUDAGraph::CUDAGraph(bool) : graph(new fake::Graph()) {}

CUDAGraph::~CUDAGraph() {
  if (graph->id != 0) fake::free_pool(graph->id);
  delete graph;
}

void CUDAGraph::capture_begin(std::pair<unsigned long long, unsigned long long>, unsigned) {
  static std::atomic<uint64_t> next{1};
  TORCH_CHECK(fake::open == nullptr && graph->id == 0, "fake-cuda: a second recording");
  graph->id = next++;
  fake::open = graph;
  fake::begin_pool(graph->id);
}

void CUDAGraph::capture_end() {
  TORCH_CHECK(fake::open == graph, "fake-cuda: no recording ends here");
  fake::open = nullptr;
  fake::end_pool();
  for (auto it = graph->kept.rbegin(); it != graph->kept.rend(); ++it)
    std::memcpy(it->address, it->bytes.data(), it->bytes.size());
  graph->kept.clear();
  fake::poison_pool(graph->id);
  TORCH_CHECK(!graph->spoiled, "CUDA error: operation failed due to a previous error during capture");
  graph->ready = true;
}

void CUDAGraph::replay() {
  TORCH_CHECK(graph->ready, "Called CUDAGraph::replay without a preceding successful capture.");
  fake::count("replay");
  for (const auto& work : graph->work) work();
}

}  // namespace at::cuda

// The name has CUDA's own enum in it, which no header of ours has.
extern "C" __attribute__((visibility("default"))) void fake_capture_begin(
    at::cuda::CUDAGraph* self, std::pair<unsigned long long, unsigned long long> pool,
    unsigned mode) __asm__("_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode");
extern "C" void fake_capture_begin(at::cuda::CUDAGraph* self, std::pair<unsigned long long, unsigned long long> pool,
                                   unsigned mode) {
  self->capture_begin(pool, mode);
}
