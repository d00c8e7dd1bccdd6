// glu.cuh: the gated units as one function, for kernels that end with any of them.
#pragma once
#include "functions.cuh"

enum Gate { SWIGLU, GEGLU, REGLU, GEGLU_ERF, GEGLU_QUICK, SWIGLU_OAI };  // as ops/glu.py numbers them

struct Glu {  // passed by value; the wrapper (ops/glu.py) packs it
  int gate;
  float alpha, limit;  // of SWIGLU_OAI
};

// g sigmoid(alpha g) (1 + u), g no more than limit, u within -limit ... limit                        (arXiv:2508.10925)
__device__ __forceinline__ float swiglu_oai(float gate, float up, float alpha, float limit) {
  const float g = gate > limit ? limit : gate, u = up > limit ? limit : up < -limit ? -limit : up;
  return g * sigmoid(alpha * g) * (1.0f + u);
}

__device__ __forceinline__ float apply_glu(Glu p, float gate, float up) {
  switch (p.gate) {
    case SWIGLU: return silu(gate) * up;
    case GEGLU: return gelu(gate) * up;
    case REGLU: return relu(gate) * up;
    case GEGLU_ERF: return gelu_erf(gate) * up;
    case GEGLU_QUICK: return gelu_quick(gate) * up;
    default: return swiglu_oai(gate, up, p.alpha, p.limit);
  }
}
