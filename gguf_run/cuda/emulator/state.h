// A running block: its fibers, warps and barriers. One OS thread runs one block at a time.
#pragma once
#include "context.h"
#include "gate.h"
#include "runtime.h"

#include <csetjmp>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <deque>
#include <string>
#include <vector>

namespace emu {

enum Order { FORWARD, REVERSE, RANDOM };
enum Wait { FOR_MBARRIER, AT_GATE, FOR_OTHERS };  // until its phase is over, until it opens, until they have run
constexpr int N_BARRIERS = 16;

struct Warp {
  unsigned ready, arrived, done, all;  // masks of lanes; `arrived` at a collective
  Slot slot[32];
};

struct Fiber : Thread {
  Context context;
  Warp* warp;
  unsigned index;     // in the block
  unsigned mask;      // of the collective that it has arrived at
  Combine combine;
  char* stack;        // its top; null: not started, or handed on
  bool started;
  Wait wait;  // why it polls
  uint64_t* mbarrier;
  unsigned parity;
};

struct Barrier {
  unsigned n_threads, n_arrived;
  int sum, result;
  std::vector<unsigned> lanes;  // that wait, a mask a warp
};

struct Copy {
  void* target;
  const void* source;
  unsigned n_bytes, n_source_bytes;  // the rest of the target becomes zero
  void run() const {
    memcpy(target, source, n_source_bytes);
    memset(static_cast<char*>(target) + n_source_bytes, 0, n_bytes - n_source_bytes);
  }
};
struct BulkCopy {
  Copy copy;
  uint64_t* barrier;
};
struct AsyncCopies {  // one thread's cp.async: the groups committed, and the copies since
  std::deque<std::vector<Copy>> groups;
  std::vector<Copy> open;
};

struct State : Block {
  unsigned n_threads, n_done;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  Barrier barriers[N_BARRIERS];
  std::vector<unsigned> polling;  // fibers that wait for an mbarrier or the gate, or let others run
  std::vector<BulkCopy> bulk;
  std::vector<AsyncCopies> copies;  // by thread; empty until the first
  Context scheduler;
  jmp_buf escape;
  std::vector<char*> stacks;  // free ones
  void (*run)(void**);
  void** arguments;
  bool waited;      // some thread has called pdl_wait()
  bool is_blocked;  // the OS thread waits at the gate
  Gate* gate;  // of a launch that may start before the one ahead is done; else null
  Order order;
  unsigned random;
  unsigned long n_switches;
  double spinning_since;
  std::string error;
};

__thread State* S = nullptr;  // the block that this OS thread runs

inline Fiber* self() { return static_cast<Fiber*>(emu_thread); }

[[noreturn]] inline void fail(const char* format, ...) {  // leaves the block
  char message[512];
  va_list list;
  va_start(list, format);
  int n = vsnprintf(message, sizeof message, format, list);
  va_end(list);
  const Fiber* f = self();
  snprintf(message + n, sizeof message - n, " [block %u,%u,%u thread %u,%u,%u]", S->id.x, S->id.y, S->id.z, f->id.x,
           f->id.y, f->id.z);
  S->error = message;
  longjmp(S->escape, 1);
}

inline double seconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

}  // namespace emu
