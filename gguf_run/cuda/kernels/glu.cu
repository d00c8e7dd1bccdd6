// Gated linear units (arXiv:2002.05202): y = act(gate) * up
// swiglu_f32: x sigmoid(x); geglu_f32: gelu by tanh; reglu_f32: max(x, 0); geglu_erf_f32: gelu by erf;
// geglu_quick_f32: x sigmoid(1.702 x)                                                    (gelu: arXiv:1606.08415)
// gate, up (n_rows, n_col) f32 with strides (rows.cuh), so that both may be slices of one row; y without gaps
// block and grid: elementwise.cuh
// memory-bound: reads gate and up once, writes y once
#include "elementwise.cuh"

// exp(-|x|) can't overflow; both branches keep their full precision. NaN stays NaN.
__device__ __forceinline__ float sigmoid(float x) {
  const float small = expf(-fabsf(x));
  return (x >= 0 ? 1.0f : small) / (1.0f + small);
}

struct Swiglu {
  __device__ static float apply(float gate, float up) { return gate * sigmoid(gate) * up; }
};
struct Geglu {  // (1 + tanh z) / 2 = sigmoid(2 z)
  __device__ static float apply(float gate, float up) {
    const float z = 0.7978845608028654f * (gate + 0.044715f * gate * gate * gate);  // sqrt(2 / pi)
    return gate * sigmoid(2.0f * z) * up;
  }
};
struct Reglu {
  __device__ static float apply(float gate, float up) { return (gate < 0 ? 0.0f : gate) * up; }
};
struct GegluErf {
  __device__ static float apply(float gate, float up) {
    return gate * 0.5f * (1.0f + erff(gate * 0.7071067811865476f)) * up;
  }
};
struct GegluQuick {
  __device__ static float apply(float gate, float up) { return gate * sigmoid(1.702f * gate) * up; }
};

template <int WIDTH>
__global__ void __launch_bounds__(256) swiglu_f32(
    const float* __restrict__ gate, const float* __restrict__ up, float* __restrict__ y, int n_rows, int n_col,
    int n_inner, Strides of_gate, Strides of_up) {
  binary<Swiglu, WIDTH>(gate, up, y, n_rows, n_col, n_inner, of_gate, of_up);
}

template <int WIDTH>
__global__ void __launch_bounds__(256) geglu_f32(
    const float* __restrict__ gate, const float* __restrict__ up, float* __restrict__ y, int n_rows, int n_col,
    int n_inner, Strides of_gate, Strides of_up) {
  binary<Geglu, WIDTH>(gate, up, y, n_rows, n_col, n_inner, of_gate, of_up);
}

template <int WIDTH>
__global__ void __launch_bounds__(256) reglu_f32(
    const float* __restrict__ gate, const float* __restrict__ up, float* __restrict__ y, int n_rows, int n_col,
    int n_inner, Strides of_gate, Strides of_up) {
  binary<Reglu, WIDTH>(gate, up, y, n_rows, n_col, n_inner, of_gate, of_up);
}

template <int WIDTH>
__global__ void __launch_bounds__(256) geglu_erf_f32(
    const float* __restrict__ gate, const float* __restrict__ up, float* __restrict__ y, int n_rows, int n_col,
    int n_inner, Strides of_gate, Strides of_up) {
  binary<GegluErf, WIDTH>(gate, up, y, n_rows, n_col, n_inner, of_gate, of_up);
}

template <int WIDTH>
__global__ void __launch_bounds__(256) geglu_quick_f32(
    const float* __restrict__ gate, const float* __restrict__ up, float* __restrict__ y, int n_rows, int n_col,
    int n_inner, Strides of_gate, Strides of_up) {
  binary<GegluQuick, WIDTH>(gate, up, y, n_rows, n_col, n_inner, of_gate, of_up);
}
