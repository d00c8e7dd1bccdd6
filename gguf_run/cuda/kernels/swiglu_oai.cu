// swiglu_oai_f32: y = g sigmoid(alpha g) (1 + u), g = min(gate, limit), u = up within -limit ... limit (arXiv:2508.10925)
// gate, up (n_rows, n_col) f32 with strides (rows.cuh), so that both may be slices of one row; y without gaps
// block and grid: elementwise.cuh
// memory-bound: reads gate and up once, writes y once
#include "elementwise.cuh"
#include "glu.cuh"

template <int WIDTH>
__global__ void __launch_bounds__(256) swiglu_oai_f32(
    const float* __restrict__ gate, const float* __restrict__ up, float* __restrict__ y, int n_rows, int n_col,
    int n_inner, Strides of_gate, Strides of_up, float alpha, float limit) {
  binary<WIDTH>(gate, up, y, n_rows, n_col, n_inner, of_gate, of_up,
                [=](float g, float u) { return swiglu_oai(g, u, alpha, limit); });
}
