// The libtorch this program runs with, in its own words.
#include <ATen/Version.h>
#include <string>
#include "guard.h"

// Writes up to `size` bytes of the settings libtorch was built with, and returns their length; 0 on failure.
extern "C" size_t torch_ext_settings(char* out, size_t size) {
  TORCH_EXT_GUARD(0, const std::string text = at::show_config(); text.copy(out, size); return text.size();)
}
