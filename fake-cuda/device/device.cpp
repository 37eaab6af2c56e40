// What libtorch asks of a device besides its operations: which there are, streams, events, generators.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <atomic>

#include "counts.h"
#include "memory.h"

namespace {

using c10::Device;
using c10::DeviceIndex;
using c10::Stream;

Device cuda(DeviceIndex index) { return {c10::kCUDA, index}; }

void check(DeviceIndex index) {
  TORCH_CHECK(index >= 0 && index < fake::device_count(), "CUDA error: invalid device ordinal (", int(index), ")");
}

c10::StreamId& stream_of(DeviceIndex index) {
  static thread_local c10::StreamId streams[fake::MAX_DEVICES] = {};
  return streams[index];
}

// All work is done at once, so streams and events are names only.
struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return c10::kCUDA; }
  Device exchangeDevice(Device device) const override {
    const Device before = getDevice();
    setDevice(device);
    return before;
  }
  Device getDevice() const override { return cuda(DeviceIndex(fake::current_device())); }
  void setDevice(Device device) const override {
    check(device.index());
    fake::current_device() = device.index();
  }
  void uncheckedSetDevice(Device device) const noexcept override { fake::current_device() = device.index(); }
  Stream getStream(Device device) const override {
    const DeviceIndex index = device.has_index() ? device.index() : DeviceIndex(fake::current_device());
    check(index);
    return Stream(Stream::UNSAFE, cuda(index), stream_of(index));
  }
  Stream getDefaultStream(Device device) const override { return Stream(Stream::DEFAULT, device); }
  Stream getStreamFromGlobalPool(Device device, bool) const override {
    static std::atomic<c10::StreamId> next{0};
    return Stream(Stream::UNSAFE, device, 1 + next++ % 32);
  }
  Stream getNewStream(Device device, int) const override { return getStreamFromGlobalPool(device, false); }
  Stream exchangeStream(Stream stream) const override {
    const Stream before = getStream(stream.device());
    stream_of(stream.device_index()) = stream.id();
    return before;
  }
  void* getStreamNativeHandle(const Stream stream) const override { return reinterpret_cast<void*>(stream.id()); }
  DeviceIndex deviceCount() const noexcept override { return DeviceIndex(fake::device_count()); }
  c10::DeviceCapability getDeviceCapability(Device) const override { return {}; }
  void record(void** event, const Stream&, const DeviceIndex, const c10::EventFlag) const override { *event = event; }
  void block(void*, const Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  bool queryStream(const Stream&) const override { return true; }
  void synchronizeStream(const Stream&) const override { fake::wait("cudaStreamSynchronize"); }
  void synchronizeEvent(void*) const override { fake::wait("cudaEventSynchronize"); }
  void synchronizeDevice(const DeviceIndex) const override { fake::wait("cudaDeviceSynchronize"); }
  double elapsedTime(void*, void*, const DeviceIndex) const override { return 0; }
};

C10_REGISTER_GUARD_IMPL(CUDA, Guard)

}  // namespace

namespace at {

// The name under which libtorch looks for it.
struct CUDAHooks final : CUDAHooksInterface {
  explicit CUDAHooks(CUDAHooksArgs) {}
  void init() const override {}
  const Generator& getDefaultGenerator(DeviceIndex index = -1) const override {
    static Generator all[fake::MAX_DEVICES] = {at::detail::createCPUGenerator(), at::detail::createCPUGenerator(),
                                               at::detail::createCPUGenerator(), at::detail::createCPUGenerator()};
    return all[index < 0 ? 0 : index];
  }
  Generator getNewGenerator(DeviceIndex = -1) const override { return at::detail::createCPUGenerator(); }
  Device getDeviceFromPtr(void* address) const override { return {c10::kCUDA, DeviceIndex(fake::device_of(address))}; }
  bool isPinnedPtr(const void* address) const override { return fake::is_pinned(address); }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return fake::device_count() > 0; }
  DeviceIndex deviceCount() const override { return DeviceIndex(fake::device_count()); }
  bool hasCUDA() const override { return true; }
  bool hasCUDART() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex current_device() const override { return DeviceIndex(fake::current_device()); }
  DeviceIndex getCurrentDevice() const override { return DeviceIndex(fake::current_device()); }
  void setCurrentDevice(DeviceIndex index) const override { fake::current_device() = index; }
  DeviceIndex exchangeDevice(DeviceIndex index) const override {
    return DeviceIndex(std::exchange(fake::current_device(), int(index)));
  }
  DeviceIndex maybeExchangeDevice(DeviceIndex index) const override { return exchangeDevice(index); }
  Allocator* getPinnedMemoryAllocator() const override { return fake::pinned_allocator(); }
  Allocator* getCUDADeviceAllocator() const override { return fake::allocator(); }
  std::string showConfig() const override { return "fake-cuda"; }
  int getNumGPUs() const override { return fake::device_count(); }
  void deviceSynchronize(DeviceIndex) const override { fake::wait("cudaDeviceSynchronize"); }
};

REGISTER_CUDA_HOOKS(CUDAHooks)

}  // namespace at
