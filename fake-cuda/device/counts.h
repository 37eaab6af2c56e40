// Counts of what a program asks of the device, written to the file FAKE_CUDA_OPS when it ends.
#pragma once
#include <string>

namespace fake {

// Counts one operation, copy, launch, replay or wait.
void count(const std::string& name);

// Counts one wait of the host for the device, and refuses it while this thread records, as CUDA does.
void wait(const char* what);

}  // namespace fake
