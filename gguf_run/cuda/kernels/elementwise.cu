// add_f32:      y = a + b
// mul_f32:      y = a * b
// scale_f32:    y = x * value
// softcap_f32:  y = value * tanh(x / value)                                                    (arXiv:2408.00118)
// a, b, x (n_rows, n_col) f32 with strides (rows.cuh; those of one row for all are 0); y without gaps
// block and grid: elementwise.cuh
// memory-bound: reads and writes each element once
#include "elementwise.cuh"

struct Add { __device__ static float apply(float a, float b) { return a + b; } };
struct Mul { __device__ static float apply(float a, float b) { return a * b; } };

template <int WIDTH>
__global__ void __launch_bounds__(256) add_f32(
    const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ y, int n_rows, int n_col, int n_inner,
    Strides of_a, Strides of_b) {
  binary<Add, WIDTH>(a, b, y, n_rows, n_col, n_inner, of_a, of_b);
}

template <int WIDTH>
__global__ void __launch_bounds__(256) mul_f32(
    const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ y, int n_rows, int n_col, int n_inner,
    Strides of_a, Strides of_b) {
  binary<Mul, WIDTH>(a, b, y, n_rows, n_col, n_inner, of_a, of_b);
}

struct Scale { __device__ static float apply(float x, float value) { return x * value; } };
struct Softcap { __device__ static float apply(float x, float cap) { return cap * tanhf(x / cap); } };

template <int WIDTH>
__global__ void __launch_bounds__(256) scale_f32(
    const float* __restrict__ x, float* __restrict__ y, int n_rows, int n_col, int n_inner, Strides of_x, float value) {
  unary<Scale, WIDTH>(x, y, n_rows, n_col, n_inner, of_x, value);
}

template <int WIDTH>
__global__ void __launch_bounds__(256) softcap_f32(
    const float* __restrict__ x, float* __restrict__ y, int n_rows, int n_col, int n_inner, Strides of_x, float value) {
  unary<Softcap, WIDTH>(x, y, n_rows, n_col, n_inner, of_x, value);
}
