// Stacks, and switching between them.
#pragma once
#include <cstdint>
#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#define EMU_UCONTEXT
#endif

namespace emu {

constexpr size_t STACK_BYTES = 128 << 10, PAGE = 4096;

// The top of a new stack, or null; its last page can't be touched. The kernel gives it memory as it is used.
inline char* new_stack() {
  void* p = mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  mprotect(p, PAGE, PROT_NONE);
  return static_cast<char*>(p) + STACK_BYTES;
}

#if defined(EMU_UCONTEXT)  // any processor, with two system calls a switch
struct Context {
  ucontext_t saved;
};
inline void switch_to(Context& from, Context& to) { swapcontext(&from.saved, &to.saved); }
inline void prepare(Context& c, char* stack_top, void (*entry)()) {
  getcontext(&c.saved);
  c.saved.uc_stack.ss_size = STACK_BYTES / 2;
  c.saved.uc_stack.ss_sp = stack_top - STACK_BYTES / 2;
  c.saved.uc_link = nullptr;
  makecontext(&c.saved, entry, 0);
}
#else  // the registers that a call keeps, on the stack that is left
struct Context {
  void* stack_pointer;
};
extern "C" void emu_switch(void** save, void* to);
asm(".text\n.hidden emu_switch\n.globl emu_switch\n.type emu_switch,@function\nemu_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n");
inline void switch_to(Context& from, Context& to) { emu_switch(&from.stack_pointer, to.stack_pointer); }
inline void prepare(Context& c, char* stack_top, void (*entry)()) {
  auto* p = reinterpret_cast<uint64_t*>(stack_top);
  *--p = 0;  // entry() finds the stack as after a call
  *--p = reinterpret_cast<uint64_t>(entry);
  for (int i = 0; i < 6; i++) *--p = 0;
  c.stack_pointer = p;
}
#endif

}  // namespace emu
