// Which fiber runs when: collectives, barriers, waiting, the end of a thread.
#pragma once
#include "state.h"

#include <sched.h>

namespace emu {

constexpr double SPIN_SECONDS = 20;  // a block in which every thread spins for so long is stuck

inline unsigned pick(unsigned ready) {  // the lane to run next
  if (S->order == FORWARD) return __builtin_ctz(ready);
  if (S->order == REVERSE) return 31 - __builtin_clz(ready);
  S->random = S->random * 1664525u + 1013904223u;
  unsigned k = S->random >> 16 & 31, rotated = k ? ready >> k | ready << (32 - k) : ready;
  return (__builtin_ctz(rotated) + k) & 31;
}
inline Fiber* next_of(const Fiber* f) {  // of the same warp, or null
  unsigned ready = f->warp->ready;
  return ready ? &S->fibers[f->index / 32 * 32 + pick(ready)] : nullptr;
}

void fiber_main();

inline void enter(Fiber* f, Context& from) {
  emu_thread = f;
  S->n_switches++;
  if (!f->started) {
    f->started = true;
    if (S->stacks.empty()) {
      f->stack = new_stack();
      if (!f->stack) fail("no memory for the stack of a thread");
    } else {
      f->stack = S->stacks.back();
      S->stacks.pop_back();
    }
    // Staggered, or the hot ends of all stacks would fall into one cache set.
    prepare(f->context, f->stack - f->index % 61 * 192 - 64, fiber_main);
  }
  switch_to(from, f->context);
}

inline void suspend(Fiber* me) {  // it isn't ready: on to a lane of its warp, or to the scheduler
  if (Fiber* next = next_of(me)) enter(next, me->context);
  else switch_to(me->context, S->scheduler);
  emu_thread = me;
}

inline bool try_release(Warp& warp, Fiber* first_lane, unsigned mask) {  // have all live lanes of the mask arrived?
  unsigned live = mask & ~warp.done;
  if (!live || (warp.arrived & live) != live) return false;
  Combine combine = first_lane[__builtin_ctz(live)].combine;
  for (unsigned rest = live; rest; rest &= rest - 1) {
    const Fiber& f = first_lane[__builtin_ctz(rest)];
    if (f.mask != mask) return false;
    if (f.combine != combine) fail("lanes of one mask met in different collectives");
  }
  if (combine) combine(warp.slot, live);
  warp.arrived &= ~live;
  warp.ready |= live;
  return true;
}

inline void collective(unsigned mask, Combine combine, const void* in, void* out, int argument) {
  Fiber* me = self();
  Warp& warp = *me->warp;
  unsigned bit = 1u << me->lane;
  mask &= warp.all;
  if (!(mask & bit)) fail("a lane is not named in its own mask");
  warp.slot[me->lane] = {in, out, argument};
  me->mask = mask;
  me->combine = combine;
  warp.arrived |= bit;
  warp.ready &= ~bit;
  if (!try_release(warp, me - me->lane, mask)) suspend(me);
}

inline void release(Barrier& b) {
  for (size_t w = 0; w < b.lanes.size(); w++) {
    S->warps[w].ready |= b.lanes[w];
    b.lanes[w] = 0;
  }
  b.n_arrived = 0;
  b.result = b.sum;
  b.sum = 0;
}

inline int barrier(int id, unsigned n_threads, int predicate) {
  if (id < 0 || id >= N_BARRIERS) fail("there is no barrier %d", id);
  Fiber* me = self();
  Barrier& b = S->barriers[id];
  if (b.n_arrived && b.n_threads != n_threads) fail("threads meet at barrier %d with different counts", id);
  b.n_threads = n_threads;
  b.sum += predicate != 0;
  b.n_arrived++;
  b.lanes.resize(S->warps.size());
  b.lanes[me->index / 32] |= 1u << me->lane;
  me->warp->ready &= ~(1u << me->lane);
  if (b.n_arrived >= (n_threads ? n_threads : S->n_threads - S->n_done)) release(b);
  if (!(me->warp->ready >> me->lane & 1)) suspend(me);
  return b.result;
}

inline void leave(Fiber* f) {  // the thread has returned from the kernel
  Warp& warp = *f->warp;
  warp.done |= 1u << f->lane;
  warp.ready &= ~(1u << f->lane);
  ++S->n_done;
  Fiber* first_lane = f - f->lane;
  for (unsigned rest = warp.arrived; rest; rest &= rest - 1)
    if (try_release(warp, first_lane, first_lane[__builtin_ctz(rest)].mask)) break;
  Barrier& b = S->barriers[0];  // those that have returned count as arrived at the block's barrier
  if (b.n_arrived && b.n_threads == 0 && b.n_arrived >= S->n_threads - S->n_done) release(b);
}

inline void fiber_main() {
  for (;;) {
    S->run(S->arguments);
    Fiber* me = self();
    leave(me);
    Fiber* next = next_of(me);
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

inline void poll(Wait wait, uint64_t* mbarrier = nullptr, unsigned parity = 0) {
  Fiber* me = self();
  me->wait = wait;
  me->mbarrier = mbarrier;
  me->parity = parity;
  me->warp->ready &= ~(1u << me->lane);
  S->polling.push_back(me->index);
  suspend(me);
}

bool phase_is_over(uint64_t* mbarrier, unsigned parity);
void run_all_copies();

inline bool is_over(const Fiber& f) {
  if (f.wait == FOR_MBARRIER) return phase_is_over(f.mbarrier, f.parity);
  return f.wait == FOR_OTHERS || S->gate->is_open();
}

inline bool wake_polling() {  // nobody is ready: who waits for something that has come?
  std::vector<unsigned> polling;
  polling.swap(S->polling);
  bool any = false, only_spinning = true, at_gate = false;
  for (unsigned i : polling) {
    Fiber& f = S->fibers[i];
    emu_thread = &f;
    bool over = is_over(f);
    any |= over;
    only_spinning &= !over || f.wait == FOR_OTHERS;
    at_gate |= f.wait == AT_GATE;
    if (over) f.warp->ready |= 1u << f.lane;
    else S->polling.push_back(i);
  }
  if (!any && at_gate) {
    run_all_copies();  // they may have been as quick as that
    S->is_blocked = true;
    S->gate->pass();
    S->is_blocked = false;
    return true;
  }
  if (!any || !only_spinning) S->spinning_since = 0;
  else if (S->spinning_since == 0) S->spinning_since = seconds();
  else if (seconds() - S->spinning_since > SPIN_SECONDS) fail("threads spin without end");
  if (any && only_spinning) sched_yield();
  return any;
}

[[noreturn]] inline void fail_deadlock() {
  unsigned first = 0, at_barriers = 0, in_collectives = 0;
  while (S->warps[first / 32].done >> first % 32 & 1) ++first;
  emu_thread = &S->fibers[first];
  for (auto& b : S->barriers) at_barriers += b.n_arrived;
  for (auto& w : S->warps) in_collectives += __builtin_popcount(w.arrived);
  fail("deadlock: of %u live threads %u wait at barriers, %u in warp collectives, %zu for mbarriers",
       S->n_threads - S->n_done, at_barriers, in_collectives, S->polling.size());
}

inline void schedule() {  // until every thread has returned
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
    if (!any && !wake_polling()) fail_deadlock();
  }
}

}  // namespace emu
