// The part of `libcuda.so.1` that the programs call, for kernels of their own on the make-believe device.
//
// A module is accepted when it is what NVRTC made (an ELF of NVIDIA's, or PTX) and has the kernel's name in it; what runs is
// the kernel's own source in the project's emulator (crates/kernels/cuda/emulator/cuda.h), on twins of the addresses.
#include <cuda.h>  // the emulator's

// Each kernel file of the project defines KERNEL for itself.
#include "nf4_dequantize.cu"
#undef KERNEL
#include "nf4_quantize.cu"
#undef KERNEL
#include "nf4_matvec.cu"
#undef KERNEL
#include "int8_matvec.cu"
#undef KERNEL
#include "rms_norm.cu"
#undef KERNEL
#include "rotate_half.cu"
#undef KERNEL
#include "swiglu.cu"
#undef KERNEL
#include "dropout.cu"
#undef KERNEL
#include "factors.cu"
#undef KERNEL

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <tuple>

#include "counts.h"
#include "graph.h"
#include "memory.h"

namespace {

template <class A>
A translated(A value) {
  if constexpr (std::is_pointer_v<A>) {
    return value == nullptr ? nullptr : reinterpret_cast<A>(fake::twin(reinterpret_cast<const void*>(value)));
  } else {
    return value;
  }
}

using Work = std::function<void()>;

// A kernel with its arguments, copied.
template <auto KERNEL>
struct Bound;
template <class... A, void (*KERNEL)(A...)>
struct Bound<KERNEL> {
  std::tuple<A...> values;
  static void run(void** arguments) {
    std::apply([](auto... values) { KERNEL(translated(values)...); }, static_cast<Bound*>(arguments[0])->values);
  }
  template <size_t... I>
  static Bound bind(void** arguments, std::index_sequence<I...>) {
    return {std::tuple<A...>(*static_cast<A*>(arguments[I])...)};
  }
  static Work work(const char* name, unsigned blocks, unsigned threads, void** arguments) {
    auto bound = std::make_shared<Bound>(bind(arguments, std::index_sequence_for<A...>()));
    return [bound, name, blocks, threads] {
      static std::mutex one;
      const std::lock_guard<std::mutex> held(one);
      void* cell[1] = {bound.get()};
      if (const char* error = emulate(name, blocks, threads, cell)) {
        std::fprintf(stderr, "fake-cuda: kernel %s: %s\n", name, error);
        std::abort();
      }
    };
  }
};

struct Kernel {
  const char* name;
  Work (*work)(const char*, unsigned, unsigned, void**);
};

#define KERNEL_OF(NAME)                                                       \
  emulated::kernels()[#NAME] = Bound<NAME>::run;                              \
  all[#NAME] = Kernel{#NAME, Bound<NAME>::work};
#define KERNELS_OF(NAME) KERNEL_OF(NAME##_float32) KERNEL_OF(NAME##_bfloat16) KERNEL_OF(NAME##_float16)

std::map<std::string, Kernel>& known() {
  static auto* kernels = [] {
    auto& all = *new std::map<std::string, Kernel>();
    KERNEL_OF(nf4_dequantize)
    KERNEL_OF(nf4_quantize)
    KERNEL_OF(nf4_matvec_1) KERNEL_OF(nf4_matvec_2) KERNEL_OF(nf4_matvec_4) KERNEL_OF(nf4_matvec_8) KERNEL_OF(nf4_matvec_16)
    KERNEL_OF(int8_matvec_1) KERNEL_OF(int8_matvec_2) KERNEL_OF(int8_matvec_4) KERNEL_OF(int8_matvec_8) KERNEL_OF(int8_matvec_16)
    KERNELS_OF(rms_norm) KERNELS_OF(rms_norm_backward) KERNELS_OF(rotate_half)
    KERNELS_OF(swiglu) KERNELS_OF(swiglu_backward)
    KERNELS_OF(dropout) KERNELS_OF(narrow_factors) KERNELS_OF(widen_factors)
    return &all;
  }();
  return *kernels;
}

struct Module {
  std::string image;
};

size_t elf_size(const unsigned char* image) {
  // The section headers end an ELF file (elf.h: e_shoff, e_shentsize, e_shnum).
  uint64_t offset;
  uint16_t size, count;
  std::memcpy(&offset, image + 40, 8);
  std::memcpy(&size, image + 58, 2);
  std::memcpy(&count, image + 60, 2);
  uint64_t programs;
  uint16_t program_size, program_count;
  std::memcpy(&programs, image + 32, 8);
  std::memcpy(&program_size, image + 54, 2);
  std::memcpy(&program_count, image + 56, 2);
  return std::max<uint64_t>(offset + size * count, programs + program_size * program_count);
}

thread_local int pushed = 0;
int context;

enum { SUCCESS = 0, INVALID_IMAGE = 200, INVALID_CONTEXT = 201, INVALID_DEVICE = 101, NOT_FOUND = 500, INVALID_VALUE = 1 };

}  // namespace

extern "C" {

int cuGetErrorString(int status, const char** text) {
  *text = status == SUCCESS ? "no error" : "fake-cuda refuses";
  return SUCCESS;
}

int cuDeviceGetAttribute(int* value, int attribute, int device) {
  if (device < 0 || device >= fake::device_count()) return INVALID_DEVICE;
  const char* text = std::getenv("FAKE_CUDA_CAPABILITY");
  const int capability = text == nullptr ? 90 : std::atoi(text);
  if (attribute == 75) *value = capability / 10;
  else if (attribute == 76) *value = capability % 10;
  else return INVALID_VALUE;
  return SUCCESS;
}

int cuDevicePrimaryCtxRetain(void** out, int device) {
  if (device < 0 || device >= fake::device_count()) return INVALID_DEVICE;
  *out = &context + device;
  return SUCCESS;
}

int cuCtxPushCurrent_v2(void*) { return ++pushed, SUCCESS; }
int cuCtxPopCurrent_v2(void** out) {
  if (pushed == 0) return INVALID_CONTEXT;
  *out = &context;
  return --pushed, SUCCESS;
}

int cuModuleLoadData(void** out, const void* image) {
  if (pushed == 0) return INVALID_CONTEXT;
  if (fake::is_recording()) return 900;  // cudaErrorStreamCaptureUnsupported
  const auto* bytes = static_cast<const unsigned char*>(image);
  if (std::memcmp(bytes, "\x7f" "ELF", 4) == 0) {
    *out = new Module{std::string(reinterpret_cast<const char*>(bytes), elf_size(bytes))};
    return SUCCESS;
  }
  const std::string text(static_cast<const char*>(image));
  if (text.find(".version") == std::string::npos) return INVALID_IMAGE;
  *out = new Module{text};
  return SUCCESS;
}

int cuModuleGetFunction(void** out, void* module, const char* name) {
  const auto found = known().find(name);
  if (found == known().end() || static_cast<Module*>(module)->image.find(name) == std::string::npos) return NOT_FOUND;
  *out = &found->second;
  return SUCCESS;
}

int cuLaunchKernel(void* function, unsigned blocks, unsigned y, unsigned z, unsigned threads, unsigned ty, unsigned tz, unsigned,
                   void*, void** arguments, void**) {
  if (pushed == 0) return INVALID_CONTEXT;
  if (blocks == 0 || y != 1 || z != 1 || threads == 0 || ty != 1 || tz != 1) return INVALID_VALUE;
  const auto& kernel = *static_cast<Kernel*>(function);
  fake::count(std::string("kernel: ") + kernel.name);
  Work work = kernel.work(kernel.name, blocks, threads, arguments);
  // A recorded launch is not done: what it writes is not known here, and cannot be put back.
  if (fake::is_recording()) fake::record(std::move(work));
  else work();
  return SUCCESS;
}

}  // extern "C"
