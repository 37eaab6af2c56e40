#include "memory.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

namespace fake {
namespace {

constexpr size_t ROOM = size_t(64) << 30;  // addresses for each device
constexpr size_t UNIT = 512;               // as CUDA's caching allocator rounds

size_t number(const char* name, size_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

struct Block {
  size_t size;
  bool used;
  uint64_t graph;  // whose it is, or 0
  bool held = false;  // by a tensor
};

struct Arena {
  char* device = nullptr;  // PROT_NONE, never backed
  char* host = nullptr;
  std::map<size_t, Block> blocks;  // by offset; neighbours that are free are one
  c10::CachingDeviceAllocator::DeviceStats stats;
  bool touched = false;
};

struct Memory {
  std::mutex lock;
  Arena arenas[MAX_DEVICES];
  char *device = nullptr, *host = nullptr;
  size_t limit = number("FAKE_CUDA_BYTES", size_t(12) << 30);
  bool poison = number("FAKE_CUDA_POISON", 1) != 0;

  Memory() {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    device = static_cast<char*>(mmap(nullptr, ROOM * MAX_DEVICES, PROT_NONE, flags, -1, 0));
    host = static_cast<char*>(mmap(nullptr, ROOM * MAX_DEVICES, PROT_READ | PROT_WRITE, flags, -1, 0));
    if (device == MAP_FAILED || host == MAP_FAILED) {
      std::fprintf(stderr, "fake-cuda: no room for addresses\n");
      std::abort();
    }
    for (int i = 0; i < MAX_DEVICES; ++i) {
      arenas[i].device = device + i * ROOM;
      arenas[i].host = host + i * ROOM;
      arenas[i].blocks[0] = {ROOM, false, 0};
    }
  }
};

Memory& memory() {
  static Memory* all = new Memory();
  return *all;
}

thread_local uint64_t recording = 0;

}  // namespace

void* take(int index, size_t size) {
  Memory& all = memory();
  const std::lock_guard<std::mutex> held(all.lock);
  Arena& arena = all.arenas[index];
  arena.touched = true;
  if (size == 0) return nullptr;
  size = (size + UNIT - 1) / UNIT * UNIT;
  auto& bytes = arena.stats.allocated_bytes[0];
  if (size_t(bytes.current) + size > all.limit) {
    TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory. Tried to allocate ", size >> 20, " MiB. GPU ", index,
                     " has a total capacity of ", all.limit >> 20, " MiB (fake-cuda)");
  }
  // The first block that is large enough.
  for (auto it = arena.blocks.begin(); it != arena.blocks.end(); ++it) {
    if (it->second.used || it->second.size < size) continue;
    const size_t offset = it->first, rest = it->second.size - size;
    it->second = {size, true, recording, true};
    if (rest > 0) arena.blocks[offset + size] = {rest, false, 0};
    bytes.increase(size);
    if (all.poison) std::memset(arena.host + offset, 0xff, size);
    return arena.device + offset;
  }
  TORCH_CHECK(false, "fake-cuda: addresses are used up");
}

namespace {

// Makes a block free, and one with the free blocks beside it.
void merge(Arena& arena, std::map<size_t, Block>::iterator it) {
  it->second = {it->second.size, false, 0};
  if (auto next = std::next(it); next != arena.blocks.end() && !next->second.used) {
    it->second.size += next->second.size;
    arena.blocks.erase(next);
  }
  if (it != arena.blocks.begin()) {
    if (auto before = std::prev(it); !before->second.used) {
      before->second.size += it->second.size;
      arena.blocks.erase(it);
    }
  }
}

}  // namespace

void give(void* address) {
  if (address == nullptr) return;
  Memory& all = memory();
  const std::lock_guard<std::mutex> held(all.lock);
  Arena& arena = all.arenas[device_of(address)];
  auto it = arena.blocks.find(size_t(static_cast<char*>(address) - arena.device));
  if (it == arena.blocks.end() || !it->second.used) {
    std::fprintf(stderr, "fake-cuda: %p is freed, but is no block\n", address);
    std::abort();
  }
  it->second.held = false;
  if (it->second.graph != 0) return;  // the graph's still
  arena.stats.allocated_bytes[0].decrease(it->second.size);
  if (all.poison) std::memset(arena.host + it->first, 0xff, it->second.size);
  merge(arena, it);
}

c10::CachingDeviceAllocator::DeviceStats& stats(int index) {
  // The real allocator knows no device before CUDA has been used.
  TORCH_CHECK(index >= 0 && index < device_count() && memory().arenas[index].touched, "Invalid device argument ", index,
              ": did you call init?");
  return memory().arenas[index].stats;
}

std::pair<size_t, size_t> free_and_total(int index) {
  TORCH_CHECK(index >= 0 && index < device_count(), "Invalid device argument ", index);
  const size_t all = memory().limit, used = size_t(memory().arenas[index].stats.allocated_bytes[0].current);
  return {all - std::min(all, used), all};
}

int device_count() {
  static const int count = int(std::min<size_t>(number("FAKE_CUDA_DEVICES", 1), MAX_DEVICES));
  return count;
}

int& current_device() {
  static thread_local int index = 0;
  return index;
}

bool is_device(const void* address) {
  const char* base = memory().device;
  return address >= base && address < base + ROOM * MAX_DEVICES;
}

int device_of(const void* address) { return int((static_cast<const char*>(address) - memory().device) / ROOM); }

void* twin(const void* address) {
  if (address == nullptr) return nullptr;
  TORCH_CHECK(is_device(address), "fake-cuda: ", address, " is no address of a device");
  return memory().host + (static_cast<const char*>(address) - memory().device);
}

void* of_twin(const void* address) {
  const char* base = memory().host;
  if (address < base || address >= base + ROOM * MAX_DEVICES) return nullptr;
  return memory().device + (static_cast<const char*>(address) - base);
}

void begin_pool(uint64_t graph) { recording = graph; }
void end_pool() { recording = 0; }

void free_pool(uint64_t graph) {
  Memory& all = memory();
  const std::lock_guard<std::mutex> held(all.lock);
  for (Arena& arena : all.arenas) {
    std::vector<size_t> offsets;
    for (auto& [offset, block] : arena.blocks)
      if (block.used && block.graph == graph) offsets.push_back(offset);
    for (size_t offset : offsets) {
      auto it = arena.blocks.find(offset);
      it->second.graph = 0;
      if (it->second.held) continue;  // its tensor gives it back
      arena.stats.allocated_bytes[0].decrease(it->second.size);
      if (all.poison) std::memset(arena.host + offset, 0xff, it->second.size);
      merge(arena, it);
    }
  }
}

void poison_pool(uint64_t graph) {
  Memory& all = memory();
  const std::lock_guard<std::mutex> held(all.lock);
  for (Arena& arena : all.arenas)
    for (auto& [offset, block] : arena.blocks)
      if (block.used && block.graph == graph) std::memset(arena.host + offset, 0xff, block.size);
}

bool in_pool(const void* address, uint64_t graph) {
  Memory& all = memory();
  const std::lock_guard<std::mutex> held(all.lock);
  Arena& arena = all.arenas[device_of(address)];
  auto it = arena.blocks.upper_bound(size_t(static_cast<const char*>(address) - arena.device));
  if (it == arena.blocks.begin()) return false;
  --it;
  return it->second.used && it->second.graph == graph;
}

}  // namespace fake
