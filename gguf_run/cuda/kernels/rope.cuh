// rope.cuh: rotary embedding (arXiv:2104.09864) with YaRN (arXiv:2309.00071); what it computes is said at
// RopeParams in graph.py. The angle is a double until whole turns are taken off: at position 100000 a float is
// wrong by a hundredth of a radian.
#pragma once

// Passed by value; the wrapper (ops/rope.py) packs it.
struct Rope {
  double step;         // pair i turns by 2^(-i step) radians a position: step = 2 log2(freq_base) / n_dims
  double freq_scale;
  double ext_factor;   // share of the unscaled angle in the fast pairs; 0: none
  double ramp_first;   // the pair from which on that share falls,
  double ramp_slope;   // and by how much a pair
  float magnitude;
  int n_dims;          // elements of a head that are rotated
  int neox;            // pairs are (i, i + n_dims / 2), else (2 i, 2 i + 1)
};

// (cosine, sine) of a pair at a position, times the magnitude. factors (n_dims / 2) or null.
__device__ __forceinline__ float2 rope_turn(const Rope& rope, int position, int pair, const float* factors) {
  double share = 0;
  if (rope.ext_factor != 0) {
    double ramp = (pair - rope.ramp_first) * rope.ramp_slope;
    share = (1 - (ramp < 0 ? 0 : ramp > 1 ? 1 : ramp)) * rope.ext_factor;
  }
  double turns = position * exp2(-rope.step * pair) * (rope.freq_scale * (1 - share) + share) * 0.15915494309189535;
  if (factors) turns /= factors[pair];
  const double whole = (double)(long long)(turns + (turns < 0 ? -0.5 : 0.5));
  float cosine, sine;
  // Of less than half a turn the fast functions are right to 2^-21.
  __sincosf((float)(turns - whole) * 6.2831853071795865f, &sine, &cosine);
  return make_float2(cosine * rope.magnitude, sine * rope.magnitude);
}

// All pairs' turns at one position into shared memory, by the whole block; a barrier must follow.
__device__ __forceinline__ void rope_turns(float2* turns, const Rope& rope, int position, const float* factors) {
#pragma unroll 1
  for (int i = threadIdx.x; i < rope.n_dims / 2; i += blockDim.x) turns[i] = rope_turn(rope, position, i, factors);
}

// Element i of the head x after the rotation.
__device__ __forceinline__ float rope_element(const float* x, int i, const Rope& rope, const float2* turns) {
  const int half = rope.n_dims / 2;
  const bool is_turned = i < rope.n_dims, second = rope.neox ? i >= half : i & 1;
  const int pair = rope.neox ? i - second * half : i / 2, other = rope.neox ? i + (second ? -half : half) : i ^ 1;
  const float2 turn = turns[is_turned ? pair : 0];
  const float y = x[i] * turn.x + (second ? 1 : -1) * x[is_turned ? other : i] * turn.y;
  return is_turned ? y : x[i];
}
