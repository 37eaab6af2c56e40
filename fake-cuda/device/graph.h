// CUDA graphs of the make-believe device.
#pragma once
#include <cstddef>
#include <functional>

namespace fake {

// Whether this thread records.
bool is_recording();

// Remembers work, which is done again by each replay.
void record(std::function<void()> work);

// Keeps what is at a twin's address, which is put back when the recording ends: recorded work is not done.
void keep(void* twin, size_t bytes);

// Refuses what may not be done while recording, as CUDA does, and spoils the recording.
void refuse_while_recording(const char* what);

}  // namespace fake
