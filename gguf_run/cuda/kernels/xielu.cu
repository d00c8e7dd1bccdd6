// xielu_f32: y = alpha_p x^2 + beta x for x > 0, else alpha_n (exp(min(x, eps)) - 1 - x) + beta x    (arXiv:2411.13010)
// x (n_rows, n_col) f32 with strides (rows.cuh); y without gaps
// block and grid: elementwise.cuh
// memory-bound: reads and writes each element once
#include "elementwise.cuh"

template <int WIDTH>
__global__ void __launch_bounds__(256) xielu_f32(
    const float* __restrict__ x, float* __restrict__ y, int n_rows, int n_col, int n_inner, Strides of_x, float alpha_n,
    float alpha_p, float beta, float eps) {
  unary<WIDTH>(x, y, n_rows, n_col, n_inner, of_x, [=](float v) {
    return (v > 0 ? alpha_p * v * v : alpha_n * (expm1f(fminf(v, eps)) - v)) + beta * v;
  });
}
