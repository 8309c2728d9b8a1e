// The launchers on the CPU, as a Python module.
#include "cuda/bind.cpp"

PYBIND11_MODULE(xferpipe_cuda_shim, m) { xferpipe::cuda::bind(m); }
