// A bad address, a division by zero, a thread that never ends: each becomes an error of the launch.
#pragma once
#include "state.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <pthread.h>
#include <thread>

namespace emu {

constexpr int SIGNALS[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGURG};  // SIGURG: from the watchdog
constexpr int N_SIGNALS = sizeof SIGNALS / sizeof *SIGNALS;
constexpr int WATCH_SECONDS = 30;
inline struct sigaction old_actions[N_SIGNALS];

inline void restore_actions() {
  for (int i = 0; i < N_SIGNALS; i++) sigaction(SIGNALS[i], &old_actions[i], nullptr);
}

inline void on_fault(int signal, siginfo_t* info, void*) {
  if (!S) {  // not a kernel's: as if this handler had never been
    if (signal != SIGURG) restore_actions();
    return;
  }
  auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  auto top = reinterpret_cast<uintptr_t>(self()->stack), shared = reinterpret_cast<uintptr_t>(S->dynamic_shared);
  if (signal == SIGURG) fail("runs for more than %d s without meeting another thread: it spins or never ends", WATCH_SECONDS);
  if (signal == SIGFPE) fail("integer division by zero");
  if (signal == SIGILL) fail("reached a trap");
  if (address < PAGE) fail("null pointer");
  if (top && address < top && address >= top - STACK_BYTES) fail("a thread's stack overflows %zu bytes", STACK_BYTES);
  if (address >= shared && address < shared + S->dynamic_shared_bytes + PAGE)
    fail("access at byte %zu of %u bytes of dynamic shared memory", address - shared, S->dynamic_shared_bytes);
  fail("illegal access at address 0x%zx", address);
}

class FaultHandlers {  // while any launch runs
 public:
  FaultHandlers() {
    std::lock_guard<std::mutex> hold(lock);
    if (n_users++) return;
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART;
    for (int i = 0; i < N_SIGNALS; i++) sigaction(SIGNALS[i], &action, &old_actions[i]);
  }
  ~FaultHandlers() {
    std::lock_guard<std::mutex> hold(lock);
    if (--n_users == 0) restore_actions();
  }

 private:
  static inline std::mutex lock;
  static inline int n_users = 0;
};

struct SignalStack {  // handlers need one when a fiber's stack has overflown
  stack_t old;
  char* memory;
  SignalStack() : memory(static_cast<char*>(malloc(64 << 10))) {
    stack_t mine = {};
    mine.ss_sp = memory;
    mine.ss_size = 64 << 10;
    sigaltstack(&mine, &old);
  }
  ~SignalStack() {
    sigaltstack(&old, nullptr);
    free(memory);
  }
};

// Looks every few seconds whether each running block still switches between threads.
class Watchdog {
  struct Entry {
    pthread_t thread;
    const State* state;
    unsigned long seen;
    double since;
  };

 public:
  void add(const State* state) {
    std::lock_guard<std::mutex> hold(lock);
    entries.push_back({pthread_self(), state, state->n_switches, seconds()});
    if (!started) std::thread(&Watchdog::watch, this).detach();
    started = true;
  }
  void remove(const State* state) {
    std::lock_guard<std::mutex> hold(lock);
    entries.erase(std::find_if(entries.begin(), entries.end(), [=](const Entry& e) { return e.state == state; }));
  }

 private:
  void watch() {
    for (;;) {
      std::this_thread::sleep_for(std::chrono::seconds(2));
      std::lock_guard<std::mutex> hold(lock);
      for (Entry& e : entries) {
        if (e.state->n_switches != e.seen || e.state->is_blocked) e.since = seconds(), e.seen = e.state->n_switches;
        else if (seconds() - e.since > WATCH_SECONDS) pthread_kill(e.thread, SIGURG), e.since = seconds();
      }
    }
  }
  std::mutex lock;
  std::vector<Entry> entries;
  bool started = false;
};
inline Watchdog& watchdog() {
  static auto* one = new Watchdog();  // never destroyed: its thread runs until the process ends
  return *one;
}

struct Watched {
  const State* state;
  explicit Watched(const State* state) : state(state) { watchdog().add(state); }
  ~Watched() { watchdog().remove(state); }
};

}  // namespace emu

// gcc's -fsanitize=alignment,bounds calls these (the ABI of libsanitizer/ubsan/ubsan_handlers.h).
extern "C" {
struct UbsanLocation {
  const char* file;
  unsigned line, column;
};
struct UbsanMismatch {
  UbsanLocation where;
  void* type;
  unsigned char log_alignment, kind;
};
void __ubsan_handle_type_mismatch_v1_abort(UbsanMismatch* data, void* pointer) {
  emu::fail("%s:%u: misaligned access: 0x%zx is no multiple of %u", data->where.file, data->where.line,
            reinterpret_cast<size_t>(pointer), 1u << data->log_alignment);
}
void __ubsan_handle_out_of_bounds_abort(UbsanLocation* where, void*) {
  emu::fail("%s:%u: index out of bounds", where->file, where->line);
}
}
