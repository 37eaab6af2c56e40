// Bringing up CUDA in a program linked against the CPU libraries only, and asking its allocator.
#include <c10/core/CPUAllocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <dlfcn.h>
#include "guard.h"

// 1 when libtorch_cuda is loaded (also before), 0 with the reason in the last error.
extern "C" int torch_ext_load_cuda() {
  TORCH_EXT_GUARD(
      0, Dl_info here; std::string path = "libtorch_cuda.so";
      // Beside the libc10 this program runs with, never another one.
      if (dladdr(reinterpret_cast<void*>(&c10::GetCPUAllocator), &here) != 0 && here.dli_fname != nullptr) {
        const std::string name(here.dli_fname);
        const auto slash = name.rfind('/');
        if (name.find("libc10") != std::string::npos && slash != std::string::npos)
          path = name.substr(0, slash + 1) + path;
      }
      if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) throw std::runtime_error(dlerror());
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
