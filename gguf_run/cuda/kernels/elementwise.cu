// add_f32:      y = a + b
// mul_f32:      y = a * b
// scale_f32:    y = x * value + bias
// softcap_f32:  y = value * tanh(x / value)                                                    (arXiv:2408.00118)
// clamp_f32:    y = x, no less than -value and no more than value; NaN stays NaN
// a, b, x (n_rows, n_col) f32 with strides (rows.cuh; those of one row for all are 0); y without gaps
// block and grid: elementwise.cuh
// memory-bound: reads and writes each element once
#include "elementwise.cuh"

template <int WIDTH>
__global__ void __launch_bounds__(256) add_f32(
    const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ y, int n_rows, int n_col, int n_inner,
    Strides of_a, Strides of_b) {
  binary<WIDTH>(a, b, y, n_rows, n_col, n_inner, of_a, of_b, [](float p, float q) { return p + q; });
}

template <int WIDTH>
__global__ void __launch_bounds__(256) mul_f32(
    const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ y, int n_rows, int n_col, int n_inner,
    Strides of_a, Strides of_b) {
  binary<WIDTH>(a, b, y, n_rows, n_col, n_inner, of_a, of_b, [](float p, float q) { return p * q; });
}

template <int WIDTH>
__global__ void __launch_bounds__(256) scale_f32(
    const float* __restrict__ x, float* __restrict__ y, int n_rows, int n_col, int n_inner, Strides of_x, float value,
    float bias) {
  unary<WIDTH>(x, y, n_rows, n_col, n_inner, of_x, [=](float v) { return v * value + bias; });
}

template <int WIDTH>
__global__ void __launch_bounds__(256) softcap_f32(
    const float* __restrict__ x, float* __restrict__ y, int n_rows, int n_col, int n_inner, Strides of_x, float value) {
  unary<WIDTH>(x, y, n_rows, n_col, n_inner, of_x, [=](float v) { return value * tanhf(v / value); });
}

template <int WIDTH>
__global__ void __launch_bounds__(256) clamp_f32(
    const float* __restrict__ x, float* __restrict__ y, int n_rows, int n_col, int n_inner, Strides of_x, float value) {
  unary<WIDTH>(x, y, n_rows, n_col, n_inner, of_x, [=](float v) { return v > value ? value : v < -value ? -value : v; });
}
