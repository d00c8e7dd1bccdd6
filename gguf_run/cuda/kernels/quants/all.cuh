// Every quantised type; a type that no kernel of a file uses costs nothing there.
#pragma once
#include "fp4.cuh"
#include "i_quants.cuh"
#include "k_quants.cuh"
#include "legacy.cuh"
#include "low_bit.cuh"
