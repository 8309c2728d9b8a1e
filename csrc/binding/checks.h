// What every file of this folder shares: only these files see torch (its stable ABI, floor 2.11). They
// check what the Python wrappers may not have checked, borrow pointers and call the kernels.
#pragma once
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>

#include "../core/matrix.h"

namespace xferpipe::binding {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline Matrix matrix(const Tensor& t, const char* name) {
  STD_TORCH_CHECK(t.dim() == 2, name, " has ", t.dim(), " dimensions but must have 2: (rows, d)");
  const bool half = t.scalar_type() == ScalarType::BFloat16;
  STD_TORCH_CHECK(half || t.scalar_type() == ScalarType::Float, name,
                  " must be float32 or bfloat16; convert it with .float()");
  STD_TORCH_CHECK(t.size(1) <= 1 || t.stride(1) == 1, name,
                  " must have its columns next to each other; call .contiguous()");
  return Matrix{t.const_data_ptr(), t.size(0), t.size(1), t.stride(0), half};
}

template <class T>
const T* vector(const Tensor& t, ScalarType type, int64_t length, const char* name) {
  STD_TORCH_CHECK(t.scalar_type() == type && t.is_contiguous(), name,
                  " must be contiguous and of the dtype its wrapper gives it");
  STD_TORCH_CHECK(t.numel() == length, name, " has ", t.numel(), " entries but needs ", length);
  return static_cast<const T*>(t.const_data_ptr());
}

template <class T>
T* output(Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

inline Tensor make(const Tensor& like, std::initializer_list<int64_t> shape, ScalarType type) {
  return torch::stable::new_empty(like, {shape.begin(), shape.size()}, type);
}

inline void same_width(const Matrix& query, const Matrix& gallery) {
  STD_TORCH_CHECK(query.columns == gallery.columns, "query has ", query.columns,
                  " features but gallery has ", gallery.columns,
                  ": both must come from one model and layer");
}

}  // namespace xferpipe::binding
