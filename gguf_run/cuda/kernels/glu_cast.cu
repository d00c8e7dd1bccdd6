// glu_cast: y = act(gate) * up in a form for products (cast_rows.cuh); GATE as in glu.cuh, whose formulas these are
// gate, up (n_row, n_col) f32 with strides (rows.cuh) that are multiples of four, so that both may be slices of one row
// grid = n_row, block and shared memory: cast_rows.cuh
// memory-bound: reads gate and up once, writes y once
#include "cast_rows.cuh"
#include "glu.cuh"

template <Form FORM, Gate GATE>
__global__ void __launch_bounds__(512, 3)
glu_cast(const float* __restrict__ gate, const float* __restrict__ up, half* __restrict__ y, int n_col, int n_inner,
         Strides of_gate, Strides of_up, float alpha, float limit) {
  const float* const gates = gate + row_start(blockIdx.x, n_inner, of_gate);
  const float* const ups = up + row_start(blockIdx.x, n_inner, of_up);
  const Glu unit = {GATE, alpha, limit};
  const auto number = [&](int c) {
    const float4 g = *(const float4*)(gates + c), u = *(const float4*)(ups + c);
    return make_float4(apply_glu(unit, g.x, u.x), apply_glu(unit, g.y, u.y), apply_glu(unit, g.z, u.z), apply_glu(unit, g.w, u.w));
  };
  cast_row<FORM>(y, nullptr, gridDim.x, n_col, blockIdx.x, 0.0f, number, [](float) { return 1.0f; });
}
