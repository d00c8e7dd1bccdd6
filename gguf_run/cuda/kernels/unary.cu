// A function of each element (functions.cuh):
// silu_f32: x sigmoid(x); gelu_f32: gelu by tanh; relu_f32: max(x, 0); sqr_f32: x^2; sigmoid_f32: 1 / (1 + exp(-x));
// softplus_f32: log(1 + exp(x))
// x (n_rows, n_col) f32 with strides (rows.cuh); y without gaps
// block and grid: elementwise.cuh
// memory-bound: reads and writes each element once
#include "elementwise.cuh"
#include "functions.cuh"

template <int WIDTH>
__global__ void __launch_bounds__(256) silu_f32(
    const float* __restrict__ x, float* __restrict__ y, int n_rows, int n_col, int n_inner, Strides of_x) {
  unary<WIDTH>(x, y, n_rows, n_col, n_inner, of_x, [](float v) { return silu(v); });
}

template <int WIDTH>
__global__ void __launch_bounds__(256) gelu_f32(
    const float* __restrict__ x, float* __restrict__ y, int n_rows, int n_col, int n_inner, Strides of_x) {
  unary<WIDTH>(x, y, n_rows, n_col, n_inner, of_x, [](float v) { return gelu(v); });
}

template <int WIDTH>
__global__ void __launch_bounds__(256) relu_f32(
    const float* __restrict__ x, float* __restrict__ y, int n_rows, int n_col, int n_inner, Strides of_x) {
  unary<WIDTH>(x, y, n_rows, n_col, n_inner, of_x, [](float v) { return relu(v); });
}

template <int WIDTH>
__global__ void __launch_bounds__(256) sqr_f32(
    const float* __restrict__ x, float* __restrict__ y, int n_rows, int n_col, int n_inner, Strides of_x) {
  unary<WIDTH>(x, y, n_rows, n_col, n_inner, of_x, [](float v) { return square(v); });
}

template <int WIDTH>
__global__ void __launch_bounds__(256) sigmoid_f32(
    const float* __restrict__ x, float* __restrict__ y, int n_rows, int n_col, int n_inner, Strides of_x) {
  unary<WIDTH>(x, y, n_rows, n_col, n_inner, of_x, [](float v) { return sigmoid(v); });
}

template <int WIDTH>
__global__ void __launch_bounds__(256) softplus_f32(
    const float* __restrict__ x, float* __restrict__ y, int n_rows, int n_col, int n_inner, Strides of_x) {
  unary<WIDTH>(x, y, n_rows, n_col, n_inner, of_x, [](float v) { return softplus(v); });
}
