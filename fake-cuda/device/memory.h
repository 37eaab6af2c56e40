// Memory of the make-believe device: addresses the host may not touch, each with a twin that kernels use.
#pragma once
#include <c10/core/CachingDeviceAllocator.h>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace fake {

constexpr int MAX_DEVICES = 4;

// How many devices there are (FAKE_CUDA_DEVICES, 1 when unset).
int device_count();

// The device that tensors of this thread are made on now.
int& current_device();

// Takes and gives back memory of a device. More than FAKE_CUDA_BYTES at a time is an `OutOfMemoryError`.
void* take(int device, size_t size);
void give(void* address);
c10::CachingDeviceAllocator::DeviceStats& stats(int device);
// Bytes of a device that are not taken, and all of them.
std::pair<size_t, size_t> free_and_total(int device);

c10::DeviceAllocator* allocator();
c10::Allocator* pinned_allocator();
bool is_pinned(const void* address);

// Whether an address is one of a device, and which.
bool is_device(const void* address);
int device_of(const void* address);

// The twin of a device's address, which can be read and written.
void* twin(const void* address);
// The device's address of a twin; null where it is none.
void* of_twin(const void* address);

// Blocks taken on this thread belong to the graph from now on, and are not given out again before `free_pool`.
void begin_pool(uint64_t graph);
void end_pool();
void free_pool(uint64_t graph);
// Fills what a graph holds with 0xff bytes, which are NaN.
void poison_pool(uint64_t graph);
bool in_pool(const void* address, uint64_t graph);

}  // namespace fake
