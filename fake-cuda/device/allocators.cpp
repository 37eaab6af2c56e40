// What libtorch takes memory from: that of the device, and pinned memory of the host.
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>

#include "memory.h"

namespace fake {
namespace {

struct DeviceMemory final : c10::DeviceAllocator {
  c10::DataPtr allocate(size_t size) override {
    const int index = current_device();
    void* address = take(index, size);
    return {address, address, &give, c10::Device(c10::kCUDA, c10::DeviceIndex(index))};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give; }
  void copy_data(void* to, const void* from, size_t count) const override { std::memcpy(twin(to), twin(from), count); }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex index) override { return stats(index); }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex index) override { return free_and_total(index); }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex index) override { stats(index).allocated_bytes[0].reset_peak(); }
};

std::mutex pinned_lock;
std::map<const char*, size_t>& pinned() {
  static auto* all = new std::map<const char*, size_t>();
  return *all;
}

void unpin(void* address) {
  {
    const std::lock_guard<std::mutex> held(pinned_lock);
    pinned().erase(static_cast<char*>(address));
  }
  std::free(address);
}

struct PinnedMemory final : c10::Allocator {
  c10::DataPtr allocate(size_t size) override {
    void* address = nullptr;
    if (posix_memalign(&address, 64, size == 0 ? 64 : size) != 0) throw std::bad_alloc();
    const std::lock_guard<std::mutex> held(pinned_lock);
    pinned()[static_cast<char*>(address)] = size;
    return {address, address, &unpin, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &unpin; }
  void copy_data(void* to, const void* from, size_t count) const override { std::memcpy(to, from, count); }
};

struct Registered {
  Registered() {
    static DeviceMemory device;
    c10::SetAllocator(c10::kCUDA, &device, 10);
  }
} registered;

}  // namespace

c10::DeviceAllocator* allocator() { return c10::getDeviceAllocator(c10::kCUDA); }

c10::Allocator* pinned_allocator() {
  static PinnedMemory all;
  return &all;
}

bool is_pinned(const void* address) {
  const std::lock_guard<std::mutex> held(pinned_lock);
  auto it = pinned().upper_bound(static_cast<const char*>(address));
  if (it == pinned().begin()) return false;
  --it;
  return static_cast<const char*>(address) < it->first + std::max<size_t>(it->second, 1);
}

}  // namespace fake
