// Barriers, warp collectives, atomics.
#pragma once

inline void __syncthreads() { emu_barrier(0, 0, 0); }
inline int __syncthreads_count(int p) { return emu_barrier(0, 0, p != 0); }
inline int __syncthreads_or(int p) { return emu_barrier(0, 0, p != 0) != 0; }
inline int __syncthreads_and(int p) { return emu_barrier(0, 0, p == 0) == 0; }
inline void __syncwarp(unsigned mask = ~0u) { emu_collective(mask, nullptr, nullptr, nullptr, 0); }
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() {}
inline void __threadfence_system() { __threadfence(); }
inline void __nanosleep(unsigned) { emu_yield(); }
[[noreturn]] inline void __trap() { emu_fail("reached __trap()"); }

namespace emu {

inline void need_whole_warp(unsigned lanes) {
  if (lanes != ~0u) emu_fail("all 32 lanes of a warp must take part, some are missing or have returned");
}

template <class F> inline void each_lane(unsigned mask, F f) {
  for (unsigned rest = mask; rest; rest &= rest - 1) f(__builtin_ctz(rest));
}

template <class T> void combine_shuffle(Slot* slots, unsigned mask) {  // a lane outside the mask gives poison
  each_lane(mask, [=](int i) {
    int from = slots[i].argument;
    if (mask >> from & 1) memcpy(slots[i].out, slots[from].in, sizeof(T));
    else memset(slots[i].out, 0xFF, sizeof(T));
  });
}
template <class T> inline T shuffle(unsigned mask, const T& value, int from) {
  T result;
  emu_collective(mask, &combine_shuffle<T>, &value, &result, from);
  return result;
}

inline void combine_ballot(Slot* slots, unsigned mask) {
  unsigned ballot = 0;
  each_lane(mask, [&](int i) { ballot |= unsigned(slots[i].argument) << i; });
  each_lane(mask, [=](int i) { *static_cast<unsigned*>(slots[i].out) = ballot; });
}

// The butterfly of shuffles that sums or maximises over the lanes, in its order of operations, as one collective.
template <class T, class F, int WIDTH> void combine_butterfly(Slot* slots, unsigned lanes) {
  need_whole_warp(lanes);
  T value[32], other[32];
  for (int i = 0; i < 32; i++) memcpy(&value[i], slots[i].in, sizeof(T));
  for (int step = WIDTH / 2; step; step /= 2) {
    memcpy(other, value, sizeof value);
    for (int i = 0; i < 32; i++) value[i] = F::apply(other[i], other[i ^ step]);
  }
  for (int i = 0; i < 32; i++) memcpy(slots[i].out, &value[i], sizeof(T));
}
template <class F, int WIDTH, class T> inline T butterfly(T value) {
  T result;
  emu_collective(~0u, &combine_butterfly<T, F, WIDTH>, &value, &result, 0);
  return result;
}

struct Sum { template <class T> static T apply(T a, T b) { return a + b; } };
struct Max { template <class T> static T apply(T a, T b) { return max(a, b); } };
struct Min { template <class T> static T apply(T a, T b) { return min(a, b); } };
struct And { template <class T> static T apply(T a, T b) { return a & b; } };
struct Or { template <class T> static T apply(T a, T b) { return a | b; } };
template <class T, class F> void combine_reduce(Slot* slots, unsigned mask) {
  T all = *static_cast<const T*>(slots[__builtin_ctz(mask)].in);
  each_lane(mask & (mask - 1), [&](int i) { all = F::apply(all, *static_cast<const T*>(slots[i].in)); });
  each_lane(mask, [=](int i) { *static_cast<T*>(slots[i].out) = all; });
}
template <class F, class T> inline T reduce(unsigned mask, T value) {
  T result;
  emu_collective(mask, &combine_reduce<T, F>, &value, &result, 0);
  return result;
}

template <class T> void combine_match(Slot* slots, unsigned mask) {
  each_lane(mask, [=](int i) {
    unsigned same = 0;
    each_lane(mask, [&](int k) { same |= unsigned(*static_cast<const T*>(slots[i].in) == *static_cast<const T*>(slots[k].in)) << k; });
    *static_cast<unsigned*>(slots[i].out) = same;
  });
}

}  // namespace emu

template <class T> inline T __shfl_sync(unsigned mask, T v, int from, int width = 32) {
  int lane = emu_thread->lane;
  return emu::shuffle(mask, v, (lane & ~(width - 1)) | (from & (width - 1)));
}
template <class T> inline T __shfl_xor_sync(unsigned mask, T v, int x, int width = 32) {
  int lane = emu_thread->lane, from = lane ^ x;
  return emu::shuffle(mask, v, (from & ~(width - 1)) > (lane | (width - 1)) ? lane : from);
}
template <class T> inline T __shfl_down_sync(unsigned mask, T v, unsigned d, int width = 32) {
  int lane = emu_thread->lane, from = lane + int(d);
  return emu::shuffle(mask, v, (from & ~(width - 1)) != (lane & ~(width - 1)) ? lane : from);
}
template <class T> inline T __shfl_up_sync(unsigned mask, T v, unsigned d, int width = 32) {
  int lane = emu_thread->lane, from = lane - int(d);
  return emu::shuffle(mask, v, from < (lane & ~(width - 1)) ? lane : from);
}
inline unsigned __ballot_sync(unsigned mask, int p) {
  unsigned result;
  emu_collective(mask, &emu::combine_ballot, nullptr, &result, p != 0);
  return result;
}
inline int __any_sync(unsigned mask, int p) { return __ballot_sync(mask, p) != 0; }
inline int __all_sync(unsigned mask, int p) { return __ballot_sync(mask, !p) == 0; }
template <class T> inline unsigned __match_any_sync(unsigned mask, T v) {
  unsigned result;
  emu_collective(mask, &emu::combine_match<T>, &v, &result, 0);
  return result;
}
template <class T> inline T __reduce_add_sync(unsigned mask, T v) { return emu::reduce<emu::Sum>(mask, v); }
template <class T> inline T __reduce_max_sync(unsigned mask, T v) { return emu::reduce<emu::Max>(mask, v); }
template <class T> inline T __reduce_min_sync(unsigned mask, T v) { return emu::reduce<emu::Min>(mask, v); }
inline unsigned __reduce_and_sync(unsigned mask, unsigned v) { return emu::reduce<emu::And>(mask, v); }
inline unsigned __reduce_or_sync(unsigned mask, unsigned v) { return emu::reduce<emu::Or>(mask, v); }

namespace emu {
template <class T> struct Identity { using type = T; };
template <class T> using Same = typename Identity<T>::type;  // takes any number, T is deduced elsewhere
}  // namespace emu
template <class T, class F> inline T emu_atomic(T* p, F update) {
  T old, value;
  __atomic_load(p, &old, __ATOMIC_SEQ_CST);
  do value = update(old);
  while (!__atomic_compare_exchange(p, &old, &value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
  return old;
}
#define EMU_ATOMIC(name, expression) \
  template <class T> inline T name(T* p, emu::Same<T> v) { \
    return emu_atomic(p, [=](T old) { return T(expression); }); \
  }
EMU_ATOMIC(atomicAdd, old + v)
EMU_ATOMIC(atomicSub, old - v)
EMU_ATOMIC(atomicMax, old > v ? old : v)
EMU_ATOMIC(atomicMin, old < v ? old : v)
EMU_ATOMIC(atomicExch, v)
EMU_ATOMIC(atomicAnd, old & v)
EMU_ATOMIC(atomicOr, old | v)
EMU_ATOMIC(atomicXor, old ^ v)
EMU_ATOMIC(atomicInc, old >= v ? 0 : old + 1)
EMU_ATOMIC(atomicDec, old == 0 || old > v ? v : old - 1)
#undef EMU_ATOMIC
template <class T> inline T atomicCAS(T* p, emu::Same<T> compare_, emu::Same<T> value) {
  T compare = compare_;
  __atomic_compare_exchange(p, &compare, &value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  return compare;
}
