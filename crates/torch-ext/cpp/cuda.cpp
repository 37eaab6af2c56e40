// Bringing up CUDA in a program linked against the CPU libraries only, and asking its allocator.
#include <c10/core/CPUAllocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
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

// 1 when libtorch_cuda is loaded (also before), 0 with the reason in the last error.
extern "C" int torch_ext_load_cuda() {
  // Beside libc10, never another one.
  TORCH_EXT_GUARD(0, const std::string path = torch_ext::lib_dir() + "libtorch_cuda.so";
                  if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) throw std::runtime_error(dlerror());
                  return 1;)
}

// The `cudaStream_t` that operations on the device go to now; 0 on failure (the default stream is null).
extern "C" int torch_ext_cuda_stream(int device, void** stream) {
  TORCH_EXT_GUARD(0, const c10::impl::VirtualGuardImpl guard(c10::kCUDA);
                  *stream = guard.getStream(c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(device))).native_handle();
                  return 1;)
}

// Bytes in tensors now and at the peak since the last reset; 0 on failure.
extern "C" int torch_ext_cuda_memory(int device, int64_t* current, int64_t* peak) {
  TORCH_EXT_GUARD(0, auto stats = c10::getDeviceAllocator(c10::kCUDA)->getDeviceStats(device);
                  *current = stats.allocated_bytes[0].current; *peak = stats.allocated_bytes[0].peak; return 1;)
}

extern "C" int torch_ext_cuda_reset_peak(int device) {
  TORCH_EXT_GUARD(0, c10::getDeviceAllocator(c10::kCUDA)->resetPeakStats(device); return 1;)
}
