// The emulator's runtime: runs the threads of a CUDA block as fibers of one OS thread.
//
// A fiber runs until it meets a collective or a barrier that others have not reached: between two such points a
// thread runs alone. That, the choice of lane order and the poisoned shared memory turn a missing barrier into a
// wrong result (mostly a NaN), every time. Threads that run straight through share one stack and never switch.
#include "copies.h"
#include "faults.h"
#include "schedule.h"

#include <link.h>

extern "C" {
__thread emu::Thread* emu_thread = nullptr;
__thread emu::Block* emu_block = nullptr;
}

namespace emu {

void reset_block() {
  State& s = *S;
  s.n_done = 0;
  s.waited = false;
  s.spinning_since = 0;
  for (auto& b : s.barriers) b.n_threads = b.n_arrived = 0, b.sum = 0, b.lanes.clear();
  s.polling.clear();
  s.bulk.clear();
  s.copies.clear();
  for (unsigned w = 0; w < s.warps.size(); w++) {
    unsigned n = std::min(32u, s.n_threads - w * 32);
    s.warps[w].all = s.warps[w].ready = n == 32 ? ~0u : (1u << n) - 1;
    s.warps[w].arrived = s.warps[w].done = 0;
  }
  uint3 id = {0, 0, 0};
  for (unsigned i = 0; i < s.n_threads; i++) {
    Fiber& f = s.fibers[i];
    f.id = id;
    f.index = i;
    f.lane = i % 32;
    f.warp = &s.warps[i / 32];
    f.started = false;
    f.stack = nullptr;
    if (++id.x == s.size.x) id.x = 0, id.y++;
    if (id.y == s.size.y) id.y = 0, id.z++;
  }
}

bool run_block(bool must_wait) {  // false: S->error says why
  emu_thread = S->fibers.data();
  reset_block();
  if (setjmp(S->escape) == 0) {
    schedule();
    emu_thread = S->fibers.data();
    if (must_wait && !S->waited) fail("launched with pdl=True, but no thread called pdl_wait()");
    if (!S->bulk.empty()) fail("the block ended while a bulk copy was under way: nobody waited for its mbarrier");
  }
  for (auto& f : S->fibers)
    if (f.stack) S->stacks.push_back(f.stack);
  return S->error.empty();
}

// ---- shared memory --------------------------------------------------------------------------------------------

struct Region {
  char* start;
  size_t n_bytes;
};
struct TlsQuery {
  char* inside;
  Region found;
};

int find_tls(dl_phdr_info* info, size_t, void* data) {
  auto* q = static_cast<TlsQuery*>(data);
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const auto& h = info->dlpi_phdr[i];
    auto* start = static_cast<char*>(info->dlpi_tls_data);
    if (h.p_type == PT_TLS && start && q->inside >= start && q->inside < start + h.p_memsz) q->found = {start, h.p_memsz};
  }
  return q->found.start != nullptr;
}
Region static_shared(const Kernel& kernel) {  // this OS thread's thread-local block of the kernel's module
  TlsQuery q = {static_cast<char*>(kernel.shared()), {nullptr, 0}};
  dl_iterate_phdr(find_tls, &q);
  return q.found;
}

struct DynamicShared {  // ends at a page that can't be touched
  char* map = nullptr;
  size_t map_bytes = 0;
  char* reserve(size_t n_bytes) {
    size_t aligned = (n_bytes + 127) & ~size_t(127), need = (aligned + 2 * PAGE - 1) / PAGE * PAGE;
    if (need > map_bytes) {
      if (map) munmap(map, map_bytes);
      map = static_cast<char*>(mmap(nullptr, need, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
      map_bytes = need;
      mprotect(map + need - PAGE, PAGE, PROT_NONE);
    }
    return map + map_bytes - PAGE - aligned;
  }
};

// ---- launches ---------------------------------------------------------------------------------------------------

struct Worker {  // what an OS thread's part of a launch keeps for a later one
  State state;
  DynamicShared shared;
};

class WorkerLease {
 public:
  WorkerLease() {
    std::lock_guard<std::mutex> hold(lock);
    if (free.empty()) free.push_back(new Worker());
    worker = free.back();
    free.pop_back();
  }
  ~WorkerLease() {
    std::lock_guard<std::mutex> hold(lock);
    free.push_back(worker);
  }
  Worker* operator->() { return worker; }

 private:
  Worker* worker;
  static inline std::mutex lock;
  static inline std::vector<Worker*> free;
};

constexpr size_t MIN_THREADS = 4096;  // below that many CUDA threads another OS thread costs more than it gains

struct Run {
  const Kernel* kernel;
  void** arguments;
  const unsigned *grid, *block;
  unsigned shared, seed;
  int order;
  bool must_wait;
  Gate* gate;
  std::atomic<size_t> next{0};
  std::mutex lock;
  std::string error;
};

void work(Run& r) {
  WorkerLease worker;
  State& s = worker->state;
  SignalStack signal_stack;
  Watched watched(&s);
  S = &s;
  emu_block = &s;
  s.error.clear();
  s.grid = dim3(r.grid[0], r.grid[1], r.grid[2]);
  s.size = dim3(r.block[0], r.block[1], r.block[2]);
  s.n_threads = r.block[0] * r.block[1] * r.block[2];
  s.fibers.resize(s.n_threads);
  s.warps.resize((s.n_threads + 31) / 32);
  s.run = r.kernel->run;
  s.arguments = r.arguments;
  s.gate = r.gate;
  s.is_blocked = false;
  s.order = static_cast<Order>(r.order);
  s.random = r.seed * 2654435761u + 12345;
  s.dynamic_shared = worker->shared.reserve(r.shared);
  s.dynamic_shared_bytes = r.shared;
  Region shared = static_shared(*r.kernel);
  size_t n_blocks = size_t(r.grid[0]) * r.grid[1] * r.grid[2];
  for (size_t i; (i = r.next++) < n_blocks;) {
    memset(shared.start, 0xFF, shared.n_bytes);  // NaNs, -1
    memset(s.dynamic_shared, 0xFF, r.shared);
    size_t k = r.order == REVERSE ? n_blocks - 1 - i : i;
    s.id = {unsigned(k % r.grid[0]), unsigned(k / r.grid[0] % r.grid[1]), unsigned(k / r.grid[0] / r.grid[1])};
    if (!run_block(r.must_wait)) {
      std::lock_guard<std::mutex> hold(r.lock);
      if (r.error.empty()) r.error = s.error;
      r.next = n_blocks;
    }
  }
  S = nullptr;
  emu_block = nullptr;
  emu_thread = nullptr;
}

}  // namespace emu

extern "C" {

void emu_fail(const char* message) { emu::fail("%s", message); }
void emu_collective(unsigned mask, emu::Combine combine, const void* in, void* out, int argument) {
  emu::collective(mask, combine, in, out, argument);
}
int emu_barrier(int id, unsigned n_threads, int predicate) { return emu::barrier(id, n_threads, predicate); }
void emu_yield() { emu::poll(emu::FOR_OTHERS); }
void emu_pdl_wait() {
  emu::S->waited = true;
  if (emu::S->gate && !emu::S->gate->is_open()) emu::poll(emu::AT_GATE);
}

// Runs a kernel; 0, or 1 with the reason in `error`. Cooperative blocks run at once, one OS thread each. With a
// gate (or null), threads wait in pdl_wait() until it is opened.
int emu_launch(const emu::Kernel* kernel, void** arguments, const unsigned* grid, const unsigned* block, unsigned shared,
               unsigned n_workers, int cooperative, int pdl, emu::Gate* gate, int order, unsigned seed, char* error, unsigned error_bytes) {
  using namespace emu;
  Run r;
  r.kernel = kernel;
  r.arguments = arguments;
  r.grid = grid;
  r.block = block;
  r.shared = shared;
  r.seed = seed;
  r.order = order;
  r.must_wait = pdl;
  r.gate = gate;
  size_t n_blocks = size_t(grid[0]) * grid[1] * grid[2], n_threads = size_t(block[0]) * block[1] * block[2];
  size_t worthwhile = 1 + n_blocks * n_threads / MIN_THREADS, n = std::min({size_t(n_workers), n_blocks, worthwhile});
  if (cooperative) n = n_blocks;
  FaultHandlers handlers;
  std::vector<std::thread> threads;
  for (size_t i = 1; i < n; i++) threads.emplace_back([&r] { work(r); });
  work(r);
  for (auto& t : threads) t.join();
  if (gate) gate->arrive();
  snprintf(error, error_bytes, "%s", r.error.c_str());
  return !r.error.empty();
}
}
