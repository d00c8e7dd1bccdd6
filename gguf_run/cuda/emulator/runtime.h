// The border between the emulator's runtime (runtime.cpp, compiled once) and the kernels (one .so a .cu file).
// No library headers here: they would cost every kernel file a part of a second.
#pragma once

struct uint3 { unsigned x, y, z; };
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace emu {

struct Thread {  // what the kernel's code reads about the running thread
  uint3 id;
  unsigned lane;
};

struct Block {  // ... and about its block
  dim3 grid, size;
  uint3 id;
  char* dynamic_shared;
  unsigned dynamic_shared_bytes;
};

// One lane's part in a collective: where its value lies, where its result goes, and a small number.
struct Slot {
  const void* in;
  void* out;
  int argument;
};
using Combine = void (*)(Slot* slots, unsigned lanes);  // run once, by the lane that arrives last

struct Kernel {  // one row of a module's table; the table ends with a null name
  const char* name;
  void (*run)(void** arguments);
  void* (*shared)();  // some address among the module's static shared memory of this OS thread
  int n_params;
  int param_bytes[64];
};

}  // namespace emu

// Plain __thread in the initial-exec model: one load from a fixed offset, no call.
#define EMU_THREAD_LOCAL extern __thread __attribute__((tls_model("initial-exec"), visibility("default")))
extern "C" {
EMU_THREAD_LOCAL emu::Thread* emu_thread;
EMU_THREAD_LOCAL emu::Block* emu_block;

[[noreturn]] void emu_fail(const char* message);
void emu_collective(unsigned mask, emu::Combine combine, const void* in, void* out, int argument);
int emu_barrier(int id, unsigned n_threads, int predicate);  // n_threads 0: the whole block; the predicates' sum
void emu_yield();                                            // a spinning thread lets others run
void emu_pdl_wait();
void emu_copy_async(void* target, const void* source, unsigned n_bytes, unsigned n_source_bytes);
void emu_copy_commit();
void emu_copy_wait(unsigned n_groups);  // all groups but the last n_groups
void emu_mbarrier_init(unsigned long long* barrier, unsigned n_arrivals);
void emu_mbarrier_arrive(unsigned long long* barrier, unsigned n_bytes_expected);
void emu_mbarrier_wait(unsigned long long* barrier, unsigned parity);
void emu_bulk_copy(void* target, const void* source, unsigned n_bytes, unsigned long long* barrier);
}
