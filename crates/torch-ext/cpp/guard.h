// How a C++ failure becomes a Rust error: every entry point returns null or 0 and leaves its text here.
#pragma once
#include <c10/util/Exception.h>
#include <exception>
#include <string>

namespace torch_ext {
std::string& last_error();
}

// The body returns the result; `FAILED` is returned when it throws.
#define TORCH_EXT_GUARD(FAILED, ...)                                \
  try {                                                             \
    __VA_ARGS__                                                     \
  } catch (const c10::Error& e) {                                   \
    torch_ext::last_error() = e.what_without_backtrace();           \
    return FAILED;                                                  \
  } catch (const std::exception& e) {                               \
    torch_ext::last_error() = e.what();                             \
    return FAILED;                                                  \
  }
