// The emulator's runtime: runs the threads of a CUDA block as fibers of one OS thread.
//
// A fiber runs until it meets a collective or a barrier that others have not reached: between two such points a
// thread runs alone. That, the choice of lane order and the poisoned shared memory turn a missing barrier into a
// wrong result (mostly a NaN), every time. Threads that run straight through share one stack and never switch.
#include "runtime.h"

#include <algorithm>
#include <atomic>
#include <csetjmp>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <link.h>
#include <mutex>
#include <sched.h>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <vector>
#if !defined(__x86_64__)
#include <ucontext.h>
#define EMU_UCONTEXT
#endif

extern "C" {
__thread emu::Thread* emu_thread = nullptr;
__thread emu::Block* emu_block = nullptr;
}

namespace {

using emu::Combine;
using emu::Slot;

enum Order { FORWARD, REVERSE, RANDOM };
constexpr size_t STACK_BYTES = 128 << 10, PAGE = 4096;
constexpr int N_BARRIERS = 16;
constexpr double SPIN_SECONDS = 20;  // a block in which every thread spins for so long is stuck

// ---- switching stacks ---------------------------------------------------------------------------------------

#ifdef EMU_UCONTEXT
struct Context { ucontext_t u; };
void switch_to(Context& from, Context& to) { swapcontext(&from.u, &to.u); }
void prepare(Context& c, char* stack_top, void (*entry)()) {
  getcontext(&c.u);
  c.u.uc_stack.ss_sp = stack_top - (STACK_BYTES - PAGE);
  c.u.uc_stack.ss_size = STACK_BYTES - PAGE;
  c.u.uc_link = nullptr;
  makecontext(&c.u, entry, 0);
}
#else
struct Context { void* sp; };
extern "C" void emu_switch(void** save, void* to);
asm(".text\n.hidden emu_switch\n.globl emu_switch\n.type emu_switch,@function\nemu_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n");
void switch_to(Context& from, Context& to) { emu_switch(&from.sp, to.sp); }
void prepare(Context& c, char* stack_top, void (*entry)()) {
  auto* p = reinterpret_cast<uint64_t*>(stack_top);
  *--p = 0;  // entry() sees the stack as after a call
  *--p = reinterpret_cast<uint64_t>(entry);
  for (int i = 0; i < 6; i++) *--p = 0;
  c.sp = p;
}
#endif

// ---- the state of a running block ---------------------------------------------------------------------------

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

struct Fiber : emu::Thread {
  Context context;
  char* stack;  // its top; null: not started, or handed on
  unsigned warp, mask;
  Combine combine;
  bool started;
  uint64_t* waits_for;  // an mbarrier, or null: it only yielded
  unsigned parity;
};

struct Warp {
  unsigned ready, arrived, done, all;
  Slot slot[32];
};

struct Barrier {
  unsigned n_threads;
  int sum, result;
  std::vector<unsigned> waiting;
};

struct AsyncCopies {  // one thread's cp.async: the groups committed and the copies since
  std::deque<std::vector<Copy>> groups;
  std::vector<Copy> open;
};

struct State : emu::Block {
  unsigned n_threads, n_done;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  Barrier barriers[N_BARRIERS];
  std::vector<unsigned> polling;  // fibers that wait for an mbarrier or yielded
  std::vector<BulkCopy> bulk;
  std::vector<AsyncCopies> copies;
  Context scheduler;
  jmp_buf escape;
  std::vector<char*> stacks;
  void (*run)(void**);
  void** arguments;
  Order order;
  unsigned random;
  double spinning_since;
  std::string error;
};

__thread __attribute__((tls_model("initial-exec"))) State* S = nullptr;  // the block that this OS thread runs
Fiber* self() { return static_cast<Fiber*>(emu_thread); }
unsigned index_of(const Fiber* f) { return static_cast<unsigned>(f - S->fibers.data()); }

[[noreturn]] void fail(const char* format, ...) {
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

double seconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

// ---- fibers -------------------------------------------------------------------------------------------------

char* new_stack() {
  if (S->stacks.empty()) {
    void* p = mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) fail("no memory for the stack of a thread");
    mprotect(p, PAGE, PROT_NONE);
    return static_cast<char*>(p) + STACK_BYTES;
  }
  char* top = S->stacks.back();
  S->stacks.pop_back();
  return top;
}

unsigned pick(unsigned ready) {  // the lane to run next
  if (S->order == FORWARD) return __builtin_ctz(ready);
  if (S->order == REVERSE) return 31 - __builtin_clz(ready);
  S->random = S->random * 1664525u + 1013904223u;
  unsigned k = S->random >> 16 & 31, rotated = k ? ready >> k | ready << (32 - k) : ready;
  return (__builtin_ctz(rotated) + k) & 31;
}

void fiber_main();

void enter(Fiber* f, Context& from) {
  emu_thread = f;
  if (!f->started) {
    f->started = true;
    f->stack = new_stack();
    // Staggered, or the hot ends of all stacks would fall into one cache set.
    prepare(f->context, f->stack - index_of(f) % 61 * 192 - 64, fiber_main);
  }
  switch_to(from, f->context);
}

void suspend() {  // the running fiber isn't ready: on to a lane of its warp, or to the scheduler
  Fiber* me = self();
  unsigned ready = S->warps[me->warp].ready;
  if (ready) enter(&S->fibers[me->warp * 32 + pick(ready)], me->context);
  else switch_to(me->context, S->scheduler);
  emu_thread = me;
}

void set_ready(unsigned i) { S->warps[i / 32].ready |= 1u << i % 32; }
void unset_ready(const Fiber* f) { S->warps[f->warp].ready &= ~(1u << f->lane); }

bool try_release(unsigned w, unsigned mask) {  // have all live lanes of the mask arrived?
  Warp& warp = S->warps[w];
  unsigned live = mask & ~warp.done;
  if (!live || (warp.arrived & live) != live) return false;
  Combine combine = S->fibers[w * 32 + __builtin_ctz(live)].combine;
  for (unsigned rest = live; rest; rest &= rest - 1) {
    const Fiber& f = S->fibers[w * 32 + __builtin_ctz(rest)];
    if (f.mask != mask) return false;
    if (f.combine != combine) fail("lanes of one mask met in different collectives");
  }
  if (combine) combine(warp.slot, live);
  warp.arrived &= ~live;
  warp.ready |= live;
  return true;
}

void release(Barrier& b) {
  for (unsigned i : b.waiting) set_ready(i);
  b.waiting.clear();
  b.result = b.sum;
  b.sum = 0;
}

void leave(Fiber* f) {  // the thread has returned from the kernel
  Warp& warp = S->warps[f->warp];
  warp.done |= 1u << f->lane;
  warp.ready &= ~(1u << f->lane);
  ++S->n_done;
  for (unsigned rest = warp.arrived; rest; rest &= rest - 1)
    if (try_release(f->warp, S->fibers[f->warp * 32 + __builtin_ctz(rest)].mask)) break;
  Barrier& b = S->barriers[0];  // those that have returned count as arrived at the block's barrier
  if (!b.waiting.empty() && b.n_threads == 0 && b.waiting.size() >= S->n_threads - S->n_done) release(b);
}

void fiber_main() {
  for (;;) {
    S->run(S->arguments);
    Fiber* me = self();
    leave(me);
    unsigned ready = S->warps[me->warp].ready;
    Fiber* next = ready ? &S->fibers[me->warp * 32 + pick(ready)] : nullptr;
    if (next && !next->started) {  // goes on upon this stack: no switch
      next->started = true;
      next->stack = me->stack;
      me->stack = nullptr;
      emu_thread = next;
      continue;
    }
    S->stacks.push_back(me->stack);
    me->stack = nullptr;
    if (next) enter(next, me->context);
    else switch_to(me->context, S->scheduler);
  }
}

// ---- mbarriers: one word of shared memory ---------------------------------------------------------------------
// bit 63 parity of the running phase, 62..43 arrivals of a phase, 42..23 arrivals missing, 22..0 bytes missing (+bias)

constexpr uint64_t TX_BIAS = 1 << 22, TX_MASK = (1 << 23) - 1, COUNT_MASK = (1 << 20) - 1;
struct MBarrier {
  uint64_t parity, total, missing, bytes;
  explicit MBarrier(uint64_t w) : parity(w >> 63), total(w >> 43 & COUNT_MASK), missing(w >> 23 & COUNT_MASK), bytes(w & TX_MASK) {
    if (total == 0 || total == COUNT_MASK || missing > total) fail("an mbarrier is used before its init");
  }
  uint64_t word() {
    if (missing == 0 && bytes == TX_BIAS) parity ^= 1, missing = total;
    return parity << 63 | total << 43 | missing << 23 | bytes;
  }
};

void run_bulk_copies(uint64_t* barrier) {  // as late as allowed: whoever reads without waiting reads poison
  for (size_t i = 0; i < S->bulk.size();) {
    if (S->bulk[i].barrier != barrier) { i++; continue; }
    BulkCopy c = S->bulk[i];
    S->bulk.erase(S->bulk.begin() + static_cast<long>(i));
    c.copy.run();
    MBarrier b(*barrier);
    b.bytes -= c.copy.n_bytes;
    *barrier = b.word();
  }
}

bool phase_is_over(uint64_t* barrier, unsigned parity) {
  if (MBarrier(*barrier).parity != (parity & 1)) return true;
  run_bulk_copies(barrier);
  return MBarrier(*barrier).parity != (parity & 1);
}

void poll(uint64_t* barrier, unsigned parity) {
  Fiber* me = self();
  me->waits_for = barrier;
  me->parity = parity;
  unset_ready(me);
  S->polling.push_back(index_of(me));
  suspend();
}

bool wake_polling() {  // nobody is ready: who waits for something that has come?
  std::vector<unsigned> still;
  std::vector<unsigned> polling;
  polling.swap(S->polling);
  bool any = false, real = false;
  for (unsigned i : polling) {
    Fiber& f = S->fibers[i];
    emu_thread = &f;
    bool wake = !f.waits_for || phase_is_over(f.waits_for, f.parity);
    real |= wake && f.waits_for;
    any |= wake;
    if (wake) set_ready(i);
    else still.push_back(i);
  }
  S->polling = still;
  if (real || !any) S->spinning_since = 0;
  else if (S->spinning_since == 0) S->spinning_since = seconds();
  else if (seconds() - S->spinning_since > SPIN_SECONDS) fail("threads spin without end");
  if (any && !real) sched_yield();
  return any;
}

// ---- running blocks -------------------------------------------------------------------------------------------

[[noreturn]] void fail_deadlock() {
  unsigned first = 0;
  while (S->warps[first / 32].done >> first % 32 & 1) ++first;
  emu_thread = &S->fibers[first];
  unsigned at_barriers = 0, in_collectives = 0;
  for (auto& b : S->barriers) at_barriers += static_cast<unsigned>(b.waiting.size());
  for (auto& w : S->warps) in_collectives += __builtin_popcount(w.arrived);
  fail("deadlock: of %u live threads %u wait at barriers, %u in warp collectives, %zu for mbarriers", S->n_threads - S->n_done,
       at_barriers, in_collectives, S->polling.size());
}

void schedule() {
  unsigned n_warps = static_cast<unsigned>(S->warps.size());
  while (S->n_done < S->n_threads) {
    bool any = false;
    for (unsigned k = 0; k < n_warps; k++) {
      unsigned w = S->order == REVERSE ? n_warps - 1 - k : k;
      while (unsigned ready = S->warps[w].ready) {
        any = true;
        enter(&S->fibers[w * 32 + pick(ready)], S->scheduler);
      }
    }
    if (!any && !wake_polling() && S->n_done < S->n_threads) fail_deadlock();
  }
}

void reset_block() {
  State& s = *S;
  s.n_done = 0;
  s.waited = false;
  s.spinning_since = 0;
  for (auto& b : s.barriers) b.waiting.clear(), b.sum = 0, b.n_threads = 0;
  s.polling.clear();
  s.bulk.clear();
  s.copies.clear();
  for (unsigned i = 0; i < s.n_threads; i++) {
    Fiber& f = s.fibers[i];
    f.id = {i % s.size.x, i / s.size.x % s.size.y, i / (s.size.x * s.size.y)};
    f.lane = i % 32;
    f.warp = i / 32;
    f.started = false;
    f.stack = nullptr;
  }
  for (unsigned w = 0; w < s.warps.size(); w++) {
    unsigned n = std::min(32u, s.n_threads - w * 32);
    s.warps[w].all = s.warps[w].ready = n == 32 ? ~0u : (1u << n) - 1;
    s.warps[w].arrived = s.warps[w].done = 0;
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

// ---- faults: a bad address becomes an error -------------------------------------------------------------------

struct sigaction old_segv, old_bus, old_fpe, old_ill;

void on_fault(int signal, siginfo_t* info, void*) {
  if (!S) {  // not a kernel's: as if this handler had never been
    sigaction(SIGSEGV, &old_segv, nullptr);
    sigaction(SIGBUS, &old_bus, nullptr);
    sigaction(SIGFPE, &old_fpe, nullptr);
    sigaction(SIGILL, &old_ill, nullptr);
    return;
  }
  auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  const Fiber* f = self();
  auto top = reinterpret_cast<uintptr_t>(f->stack);
  if (signal == SIGFPE) fail("integer division by zero");
  if (address < PAGE) fail("null pointer");
  if (signal == SIGILL) fail("reached a trap");
  if (f->stack && address < top && address >= top - STACK_BYTES) fail("a thread's stack overflows %zu bytes", STACK_BYTES);
  auto shared = reinterpret_cast<uintptr_t>(S->dynamic_shared);
  if (address >= shared && address < shared + S->dynamic_shared_bytes + PAGE)
    fail("access at byte %zu of %u bytes of dynamic shared memory", address - shared, S->dynamic_shared_bytes);
  fail("illegal access at address 0x%zx", address);
}

struct FaultGuard {  // while kernels run: handlers for all OS threads
  FaultGuard() {
    struct sigaction a = {};
    a.sa_sigaction = on_fault;
    a.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &a, &old_segv);
    sigaction(SIGBUS, &a, &old_bus);
    sigaction(SIGFPE, &a, &old_fpe);
    sigaction(SIGILL, &a, &old_ill);
  }
  ~FaultGuard() {
    sigaction(SIGSEGV, &old_segv, nullptr);
    sigaction(SIGBUS, &old_bus, nullptr);
    sigaction(SIGFPE, &old_fpe, nullptr);
    sigaction(SIGILL, &old_ill, nullptr);
  }
};

struct SignalStack {  // the handler needs a stack when a fiber's has overflown
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

// ---- shared memory --------------------------------------------------------------------------------------------

struct Region { char* start; size_t n_bytes; };
struct TlsQuery { char* inside; Region found; };

int find_tls(dl_phdr_info* info, size_t, void* data) {
  auto* q = static_cast<TlsQuery*>(data);
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const auto& h = info->dlpi_phdr[i];
    auto* start = static_cast<char*>(info->dlpi_tls_data);
    if (h.p_type == PT_TLS && start && q->inside >= start && q->inside < start + h.p_memsz) q->found = {start, h.p_memsz};
  }
  return q->found.start != nullptr;
}
Region static_shared(const emu::Kernel& kernel) {  // this OS thread's thread-local block of the kernel's module
  TlsQuery q = {static_cast<char*>(kernel.shared()), {nullptr, 0}};
  dl_iterate_phdr(find_tls, &q);
  return q.found;
}

struct DynamicShared {  // ends at a page that can't be touched
  char* map = nullptr;
  size_t map_bytes = 0;
  char* start = nullptr;
  void reserve(size_t n_bytes) {
    size_t aligned = (n_bytes + 127) & ~size_t(127), need = (aligned + 2 * PAGE - 1) / PAGE * PAGE;
    if (need > map_bytes) {
      if (map) munmap(map, map_bytes);
      map = static_cast<char*>(mmap(nullptr, need, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
      map_bytes = need;
      mprotect(map + need - PAGE, PAGE, PROT_NONE);
    }
    start = map + map_bytes - PAGE - aligned;
  }
};

struct Worker {  // what one OS thread keeps between launches
  State state;
  DynamicShared shared;
};

struct Run {
  const unsigned *grid, *block;
  unsigned shared, seed;
  int order;
  bool must_wait;
  const emu::Kernel* kernel;
  void** arguments;
  std::atomic<size_t> next{0};
  std::mutex lock;
  std::string error;
};

void work(Run& r, Worker& worker) {
  SignalStack signal_stack;
  State& s = worker.state;
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
  s.order = static_cast<Order>(r.order);
  s.random = r.seed * 2654435761u + 12345;
  worker.shared.reserve(r.shared);
  s.dynamic_shared = worker.shared.start;
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

std::mutex launches;  // one launch at a time in a process: workers and handlers are shared
std::vector<Worker*> workers;

}  // namespace

// ---- what kernels call ----------------------------------------------------------------------------------------

extern "C" {

void emu_fail(const char* message) { fail("%s", message); }

void emu_collective(unsigned mask, Combine combine, const void* in, void* out, int argument) {
  Fiber* me = self();
  Warp& warp = S->warps[me->warp];
  unsigned bit = 1u << me->lane;
  mask &= warp.all;
  if (!(mask & bit)) fail("a lane is not named in its own mask");
  warp.slot[me->lane] = {in, out, argument};
  me->mask = mask;
  me->combine = combine;
  warp.arrived |= bit;
  warp.ready &= ~bit;
  if (!try_release(me->warp, mask)) suspend();
}

int emu_barrier(int id, unsigned n_threads, int predicate) {
  if (id < 0 || id >= N_BARRIERS) fail("there is no barrier %d", id);
  Barrier& b = S->barriers[id];
  if (!b.waiting.empty() && b.n_threads != n_threads) fail("threads meet at barrier %d with different counts", id);
  b.n_threads = n_threads;
  b.sum += predicate != 0;
  b.waiting.push_back(index_of(self()));
  unset_ready(self());
  if (b.waiting.size() >= (n_threads ? n_threads : S->n_threads - S->n_done)) release(b);
  else suspend();
  return b.result;
}

void emu_yield() { poll(nullptr, 0); }

void emu_copy_async(void* target, const void* source, unsigned n_bytes, unsigned n_source_bytes) {
  if ((reinterpret_cast<uintptr_t>(target) | reinterpret_cast<uintptr_t>(source)) % n_bytes) fail("cp.async of %u bytes is misaligned", n_bytes);
  if (S->copies.empty()) S->copies.resize(S->n_threads);
  S->copies[index_of(self())].open.push_back({target, source, n_bytes, n_source_bytes});
}

void emu_copy_commit() {
  if (S->copies.empty()) S->copies.resize(S->n_threads);
  AsyncCopies& c = S->copies[index_of(self())];
  c.groups.push_back(std::move(c.open));
  c.open.clear();
}

void emu_copy_wait(unsigned n_groups) {
  if (S->copies.empty()) return;
  AsyncCopies& c = S->copies[index_of(self())];
  if (n_groups == ~0u) {
    emu_copy_commit();
    n_groups = 0;
  }
  for (; c.groups.size() > n_groups; c.groups.pop_front())
    for (const Copy& copy : c.groups.front()) copy.run();
}

void emu_mbarrier_init(unsigned long long* barrier, unsigned n_arrivals) {
  if (n_arrivals == 0 || n_arrivals >= COUNT_MASK) fail("an mbarrier can't expect %u arrivals", n_arrivals);
  *barrier = uint64_t(n_arrivals) << 43 | uint64_t(n_arrivals) << 23 | TX_BIAS;
}

void emu_mbarrier_arrive(unsigned long long* barrier, unsigned n_bytes_expected) {
  MBarrier b(*barrier);
  if (b.missing == 0) fail("more arrivals at an mbarrier than it expects");
  b.missing--;
  b.bytes += n_bytes_expected;
  *barrier = b.word();
}

void emu_mbarrier_wait(unsigned long long* barrier, unsigned parity) {
  auto* word = reinterpret_cast<uint64_t*>(barrier);
  if (!phase_is_over(word, parity)) poll(word, parity);
}

void emu_bulk_copy(void* target, const void* source, unsigned n_bytes, unsigned long long* barrier) {
  if ((reinterpret_cast<uintptr_t>(target) | reinterpret_cast<uintptr_t>(source) | n_bytes) % 16)
    fail("a bulk copy of %u bytes: addresses and size must be multiples of 16", n_bytes);
  S->bulk.push_back({{target, source, n_bytes, n_bytes}, reinterpret_cast<uint64_t*>(barrier)});
}

// gcc's -fsanitize=alignment,bounds calls these (GCC's ABI, libsanitizer/ubsan/ubsan_handlers.h).
struct UbsanLocation { const char* file; unsigned line, column; };
struct UbsanMismatch { UbsanLocation where; void* type; unsigned char log_alignment, kind; };
void __ubsan_handle_type_mismatch_v1_abort(UbsanMismatch* data, void* pointer) {
  auto address = reinterpret_cast<uintptr_t>(pointer);
  fail("%s:%u: misaligned access: 0x%zx is no multiple of %u", data->where.file, data->where.line, address, 1u << data->log_alignment);
}
void __ubsan_handle_out_of_bounds_abort(UbsanLocation* where, void*) { fail("%s:%u: index out of bounds", where->file, where->line); }

// Runs a kernel; 0, or 1 with the reason in `error`. Cooperative blocks run at once, one OS thread each.
int emu_launch(const emu::Kernel* kernel, void** arguments, const unsigned* grid, const unsigned* block, unsigned shared,
               unsigned n_workers, int cooperative, int pdl, int order, unsigned seed, char* error, unsigned error_bytes) {
  std::lock_guard<std::mutex> hold(launches);
  Run r;
  r.grid = grid;
  r.block = block;
  r.shared = shared;
  r.seed = seed;
  r.order = order;
  r.must_wait = pdl;
  r.kernel = kernel;
  r.arguments = arguments;
  size_t n_blocks = size_t(grid[0]) * grid[1] * grid[2], n = cooperative ? n_blocks : std::min<size_t>(n_workers, n_blocks);
  while (workers.size() < n) workers.push_back(new Worker());
  FaultGuard guard;
  std::vector<std::thread> threads;
  for (size_t i = 1; i < n; i++) threads.emplace_back([&r, i] { work(r, *workers[i]); });
  work(r, *workers[0]);
  for (auto& t : threads) t.join();
  snprintf(error, error_bytes, "%s", r.error.c_str());
  return !r.error.empty();
}
}
