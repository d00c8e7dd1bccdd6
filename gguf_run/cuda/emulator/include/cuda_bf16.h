// Stands in for CUDA's header: cuda_emu.h, included ahead of all, has what it declares.
