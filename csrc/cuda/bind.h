#pragma once
#include <pybind11/pybind11.h>

namespace xferpipe::cuda {

void bind(pybind11::module_ m);

}  // namespace xferpipe::cuda
