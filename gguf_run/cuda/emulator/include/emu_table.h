// The table of a module's kernels: entry points and the sizes of their parameters.
#pragma once

namespace emu {

template <class T> struct Plain { using type = T; };
template <class T> struct Plain<const T> { using type = T; };
template <class T> struct Plain<T* __restrict__> { using type = T*; };

template <int... I> struct Indices {};
template <int N, int... I> struct MakeIndices : MakeIndices<N - 1, N - 1, I...> {};
template <int... I> struct MakeIndices<0, I...> { using type = Indices<I...>; };

static thread_local char shared_anchor;
inline void* shared_address() { return &shared_anchor; }

template <auto F> struct Entry;
template <class... A, void (*F)(A...)> struct Entry<F> {
  template <int... I> static void call(void** arguments, Indices<I...>) {
    F(*static_cast<typename Plain<A>::type*>(arguments[I])...);
  }
  static void run(void** arguments) { call(arguments, typename MakeIndices<sizeof...(A)>::type()); }
  static constexpr Kernel row(const char* name) {
    return {name, run, shared_address, sizeof...(A), {int(sizeof(A))...}};
  }
};

}  // namespace emu

#define EMU_TABLE extern "C" __attribute__((visibility("default"))) const emu::Kernel
#define EMU_ROW(name, ...) emu::Entry<__VA_ARGS__>::row(name)
