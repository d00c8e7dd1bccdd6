// Copies that nobody waits for at once, and mbarriers. Both happen as late as the rules allow: whoever reads
// without waiting reads poison.
#pragma once
#include "schedule.h"

namespace emu {

// An mbarrier in its word of shared memory: bit 63 the parity of the running phase, 62..43 arrivals of a phase,
// 42..23 arrivals missing, 22..0 bytes missing (+ BIAS).
class MBarrier {
  static constexpr uint64_t BIAS = 1 << 22, BYTES = (1 << 23) - 1;

 public:
  static constexpr uint64_t COUNT = (1 << 20) - 1;
  explicit MBarrier(uint64_t* at)
      : at(at), parity_(*at >> 63), total(*at >> 43 & COUNT), missing(*at >> 23 & COUNT), bytes(*at & BYTES) {
    if (total == 0 || total == COUNT || missing > total) fail("an mbarrier is used before its init");
  }
  static void init(uint64_t* at, uint64_t total) { *at = total << 43 | total << 23 | BIAS; }
  unsigned parity() const { return static_cast<unsigned>(parity_); }
  void arrive(unsigned n_bytes_expected) {
    if (missing == 0) fail("more arrivals at an mbarrier than it expects");
    missing--;
    bytes += n_bytes_expected;
    store();
  }
  void receive(unsigned n_bytes) {
    bytes -= n_bytes;
    store();
  }

 private:
  void store() {
    if (missing == 0 && bytes == BIAS) parity_ ^= 1, missing = total;
    *at = parity_ << 63 | total << 43 | missing << 23 | bytes;
  }
  uint64_t *at, parity_, total, missing, bytes;
};

inline void run_bulk_copies(uint64_t* mbarrier) {  // those that count at it; null: all
  for (size_t i = 0; i < S->bulk.size();) {
    BulkCopy bulk = S->bulk[i];
    if (mbarrier && bulk.barrier != mbarrier) {
      i++;
      continue;
    }
    S->bulk.erase(S->bulk.begin() + static_cast<long>(i));
    bulk.copy.run();
    MBarrier(bulk.barrier).receive(bulk.copy.n_bytes);
  }
}

inline bool phase_is_over(uint64_t* mbarrier, unsigned parity) {
  if (MBarrier(mbarrier).parity() != (parity & 1)) return true;
  run_bulk_copies(mbarrier);
  return MBarrier(mbarrier).parity() != (parity & 1);
}

inline void run_all_copies() {
  run_bulk_copies(nullptr);
  for (AsyncCopies& c : S->copies) {
    for (auto& group : c.groups) {
      for (const Copy& copy : group) copy.run();
      group.clear();
    }
  }
}

inline AsyncCopies& my_copies() {
  if (S->copies.empty()) S->copies.resize(S->n_threads);
  return S->copies[self()->index];
}

inline bool aligned(const void* target, const void* source, unsigned n) {
  return (reinterpret_cast<uintptr_t>(target) | reinterpret_cast<uintptr_t>(source)) % n == 0;
}

}  // namespace emu

extern "C" {

void emu_copy_async(void* target, const void* source, unsigned n_bytes, unsigned n_source_bytes) {
  if (!emu::aligned(target, source, n_bytes)) emu::fail("cp.async of %u bytes is misaligned", n_bytes);
  emu::my_copies().open.push_back({target, source, n_bytes, n_source_bytes});
}
void emu_copy_commit() {
  emu::AsyncCopies& c = emu::my_copies();
  c.groups.push_back(std::move(c.open));
  c.open.clear();
}
void emu_copy_wait(unsigned n_groups) {
  for (auto& groups = emu::my_copies().groups; groups.size() > n_groups; groups.pop_front())
    for (const emu::Copy& copy : groups.front()) copy.run();
}
void emu_mbarrier_init(unsigned long long* barrier, unsigned n_arrivals) {
  if (n_arrivals == 0 || n_arrivals >= emu::MBarrier::COUNT) emu::fail("an mbarrier can't expect %u arrivals", n_arrivals);
  emu::MBarrier::init(reinterpret_cast<uint64_t*>(barrier), n_arrivals);
}
void emu_mbarrier_arrive(unsigned long long* barrier, unsigned n_bytes_expected) {
  emu::MBarrier(reinterpret_cast<uint64_t*>(barrier)).arrive(n_bytes_expected);
}
void emu_mbarrier_wait(unsigned long long* barrier, unsigned parity) {
  auto* word = reinterpret_cast<uint64_t*>(barrier);
  if (!emu::phase_is_over(word, parity)) emu::poll(emu::FOR_MBARRIER, word, parity);
}
void emu_bulk_copy(void* target, const void* source, unsigned n_bytes, unsigned long long* barrier) {
  if (n_bytes % 16 || !emu::aligned(target, source, 16))
    emu::fail("a bulk copy of %u bytes: addresses and size must be multiples of 16", n_bytes);
  emu::S->bulk.push_back({{target, source, n_bytes, n_bytes}, reinterpret_cast<uint64_t*>(barrier)});
}
}
