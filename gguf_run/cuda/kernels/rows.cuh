// rows.cuh: what kernels over the rows of tensors share: where a row begins, and access to WIDTH neighbouring floats.
//
// A tensor is n_rows rows of n_col floats without gaps inside a row. Row r begins at element
// r / n_inner * outer + r % n_inner * inner, so that heads of a slice of a wider row are read in place (and one row
// that all others get has outer = inner = 0). WIDTH is 4 where n_col, all strides and all addresses are multiples of
// four floats, else 1.
#pragma once

struct Strides {  // passed by value; the wrapper (ops/rows.py) packs it
  long long outer, inner;
};

__device__ __forceinline__ long long row_start(int row, int n_inner, Strides s) {
  return row / n_inner * s.outer + row % n_inner * s.inner;
}

template <int WIDTH> struct alignas(4 * WIDTH) Floats {
  float v[WIDTH];
};

template <int WIDTH> __device__ __forceinline__ Floats<WIDTH> load(const float* row, int i) {
  return reinterpret_cast<const Floats<WIDTH>*>(row)[i];
}
template <int WIDTH> __device__ __forceinline__ void store(float* row, int i, Floats<WIDTH> value) {
  reinterpret_cast<Floats<WIDTH>*>(row)[i] = value;
}
