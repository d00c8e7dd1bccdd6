// Gated linear units (arXiv:2002.05202): y = act(gate) * up
// swiglu_f32: x sigmoid(x); geglu_f32: gelu by tanh; reglu_f32: max(x, 0); geglu_erf_f32: gelu by erf;
// geglu_quick_f32: x sigmoid(1.702 x)                                                    (gelu: arXiv:1606.08415)
// gate, up (n_rows, n_col) f32 with strides (rows.cuh), so that both may be slices of one row; y without gaps
// block and grid: elementwise.cuh
// memory-bound: reads gate and up once, writes y once
#include "elementwise.cuh"
#include "functions.cuh"

template <int WIDTH>
__global__ void __launch_bounds__(256) swiglu_f32(
    const float* __restrict__ gate, const float* __restrict__ up, float* __restrict__ y, int n_rows, int n_col,
    int n_inner, Strides of_gate, Strides of_up) {
  binary<WIDTH>(gate, up, y, n_rows, n_col, n_inner, of_gate, of_up, [](float g, float u) { return silu(g) * u; });
}

template <int WIDTH>
__global__ void __launch_bounds__(256) geglu_f32(
    const float* __restrict__ gate, const float* __restrict__ up, float* __restrict__ y, int n_rows, int n_col,
    int n_inner, Strides of_gate, Strides of_up) {
  binary<WIDTH>(gate, up, y, n_rows, n_col, n_inner, of_gate, of_up, [](float g, float u) { return gelu(g) * u; });
}

template <int WIDTH>
__global__ void __launch_bounds__(256) reglu_f32(
    const float* __restrict__ gate, const float* __restrict__ up, float* __restrict__ y, int n_rows, int n_col,
    int n_inner, Strides of_gate, Strides of_up) {
  binary<WIDTH>(gate, up, y, n_rows, n_col, n_inner, of_gate, of_up, [](float g, float u) { return relu(g) * u; });
}

template <int WIDTH>
__global__ void __launch_bounds__(256) geglu_erf_f32(
    const float* __restrict__ gate, const float* __restrict__ up, float* __restrict__ y, int n_rows, int n_col,
    int n_inner, Strides of_gate, Strides of_up) {
  binary<WIDTH>(gate, up, y, n_rows, n_col, n_inner, of_gate, of_up, [](float g, float u) { return gelu_erf(g) * u; });
}

template <int WIDTH>
__global__ void __launch_bounds__(256) geglu_quick_f32(
    const float* __restrict__ gate, const float* __restrict__ up, float* __restrict__ y, int n_rows, int n_col,
    int n_inner, Strides of_gate, Strides of_up) {
  binary<WIDTH>(gate, up, y, n_rows, n_col, n_inner, of_gate, of_up, [](float g, float u) { return gelu_quick(g) * u; });
}
