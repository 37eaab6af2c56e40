// Bringing up CUDA in a program linked against the CPU libraries only, and asking its allocator.
#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/GradMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>
#include <typeinfo>
#include "guard.h"

namespace torch_ext {

// The directory of the libc10 this program runs with, with a slash at its end; empty when the linker does not say.
std::string lib_dir() {
  Dl_info here;
  if (dladdr(reinterpret_cast<void*>(&c10::GetCPUAllocator), &here) == 0 || here.dli_fname == nullptr) return "";
  const std::string name(here.dli_fname);
  const auto slash = name.rfind('/');
  return name.find("libc10") == std::string::npos || slash == std::string::npos ? "" : name.substr(0, slash + 1);
}

}  // namespace torch_ext

// Writes up to `size` bytes of that directory, and returns its length.
extern "C" size_t torch_ext_lib_dir(char* out, size_t size) {
  TORCH_EXT_GUARD(0, const std::string dir = torch_ext::lib_dir(); dir.copy(out, size); return dir.size();)
}

namespace {

void load_cuda() {
  // Beside libc10, never another one.
  const std::string path = torch_ext::lib_dir() + "libtorch_cuda.so";
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) throw std::runtime_error(dlerror());
  // libtorch keeps its first answer to the question for CUDA for as long as the process lives.
  if (typeid(at::detail::getCUDAHooks()) == typeid(at::CUDAHooksInterface))
    throw std::runtime_error("CUDA was asked for, or a random seed set, before libtorch_cuda was loaded: load it first");
  // On Hopper, PyTorch 2.11 prefers cuDNN's attention, which plans for each new shape: 0.06 to 0.4 s each, where every length
  // of a text is a shape (pytorch #191612; modelscope/FunASR #3704: 0.245 s a step with it, 0.100 s without).
  const char* wanted = std::getenv("CUDNN_ATTENTION");
  at::globalContext().setSDPUseCuDNN(wanted != nullptr && std::string(wanted) == "1");
}

}  // namespace

// 1 when libtorch_cuda is loaded (also before), 0 with the reason in the last error.
extern "C" int torch_ext_load_cuda() {
  // Not std::call_once: before glibc 2.34 it waits for ever after a call that threw (glibc bug 18435).
  static std::mutex mutex;
  static bool loaded = false;
  TORCH_EXT_GUARD(0, const std::lock_guard<std::mutex> lock(mutex); if (!loaded) load_cuda(); loaded = true; return 1;)
}

// 1 where scaled_dot_product_attention may take cuDNN.
extern "C" int torch_ext_cudnn_attention() { return at::globalContext().userEnabledCuDNNSDP(); }

// The `cudaStream_t` that operations on the device go to now; 0 on failure (the default stream is null).
extern "C" int torch_ext_cuda_stream(int device, void** stream) {
  TORCH_EXT_GUARD(0, const c10::impl::VirtualGuardImpl guard(c10::kCUDA);
                  *stream = guard.getStream(c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(device))).native_handle();
                  return 1;)
}

// Makes a device the one that libraries beside libtorch work on in this thread.
extern "C" int torch_ext_cuda_set_device(int device) {
  TORCH_EXT_GUARD(0, const c10::impl::VirtualGuardImpl guard(c10::kCUDA);
                  guard.setDevice(c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(device))); return 1;)
}

// 1 when all that was put into the current stream is done, 0 when it is not, -1 on failure.
extern "C" int torch_ext_cuda_is_idle(int device) {
  TORCH_EXT_GUARD(-1, const c10::impl::VirtualGuardImpl guard(c10::kCUDA);
                  return guard.queryStream(guard.getStream(c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(device))));)
}

// Bytes in tensors now and at the peak since the last reset; 0 on failure.
extern "C" int torch_ext_cuda_memory(int device, int64_t* current, int64_t* peak) {
  TORCH_EXT_GUARD(0, auto stats = c10::getDeviceAllocator(c10::kCUDA)->getDeviceStats(device);
                  *current = stats.allocated_bytes[0].current; *peak = stats.allocated_bytes[0].peak; return 1;)
}

extern "C" int torch_ext_cuda_reset_peak(int device) {
  TORCH_EXT_GUARD(0, c10::getDeviceAllocator(c10::kCUDA)->resetPeakStats(device); return 1;)
}

// Bytes of a device that no process has taken; -1 on failure.
extern "C" int64_t torch_ext_cuda_free_bytes(int device) {
  TORCH_EXT_GUARD(-1, return static_cast<int64_t>(c10::getDeviceAllocator(c10::kCUDA)->getMemoryInfo(
                          static_cast<c10::DeviceIndex>(device)).first);)
}

// Compute capability of a device, 90 for 9.0; -1 where the driver does not say. The driver is there once CUDA is in use.
extern "C" int torch_ext_cuda_capability(int device) {
  typedef int (*attribute_fn)(int* value, int attribute, int device);
  void* driver = dlopen("libcuda.so.1", RTLD_NOW);
  if (driver == nullptr) return -1;
  const auto attribute = reinterpret_cast<attribute_fn>(dlsym(driver, "cuDeviceGetAttribute"));
  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and …_MINOR (cuda.h).
  int major = 0, minor = 0;
  if (attribute == nullptr || attribute(&major, 75, device) != 0 || attribute(&minor, 76, device) != 0) return -1;
  return 10 * major + minor;
}

// A copy of a tensor in pinned memory of the host.
static at::Tensor in_pinned_memory(const at::Tensor& xs) {
  at::Tensor pinned = at::empty(xs.sizes(), xs.options().device(at::kCPU).pinned_memory(true));
  return pinned.copy_(xs);
}

extern "C" at::Tensor* torch_ext_cuda_pinned(const at::Tensor* xs) {
  TORCH_EXT_GUARD(nullptr, return new at::Tensor(in_pinned_memory(*xs));)
}

// A copy of a host's tensor on a CUDA device; the host does not wait for it. libtorch gives pinned memory out again when the copies
// from it are done.
extern "C" at::Tensor* torch_ext_cuda_upload(const at::Tensor* xs, int device) {
  TORCH_EXT_GUARD(nullptr, const at::Device to(at::kCUDA, static_cast<at::DeviceIndex>(device));
                  return new at::Tensor(in_pinned_memory(*xs).to(to, xs->scalar_type(), /*non_blocking=*/true));)
}

// Copies values between two tensors; the host does not wait where the one on its side is in pinned memory.
extern "C" int torch_ext_cuda_copy(at::Tensor* to, const at::Tensor* from) {
  TORCH_EXT_GUARD(0, const c10::NoGradGuard no_grad; to->copy_(*from, /*non_blocking=*/true); return 1;)
}
