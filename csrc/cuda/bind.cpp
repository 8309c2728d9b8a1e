// The launchers as Python functions: addresses are integers, a matrix is (address, rows, columns,
// stride, is bfloat16), the last argument is the stream. No torch header: the Python side owns the
// tensors (src/xferpipe/ops/cuda).
#include "bind.h"

#include <pybind11/stl.h>

#include <stdexcept>
#include <string>
#include <tuple>

#include "launch.h"

namespace xferpipe::cuda {
namespace {

namespace py = pybind11;

// How an argument comes from Python.
template <class T>
struct From {
  using type = T;
  static T give(T value) { return value; }
};
template <class T>
struct From<T*> {
  using type = uintptr_t;
  static T* give(uintptr_t address) { return reinterpret_cast<T*>(address); }
};
template <>
struct From<const Matrix&> {
  using type = std::tuple<uintptr_t, int64_t, int64_t, int64_t, bool>;
  static Matrix give(const type& m) {
    return {reinterpret_cast<const void*>(std::get<0>(m)), std::get<1>(m), std::get<2>(m),
            std::get<3>(m), std::get<4>(m)};
  }
};
template <>
struct From<Distance> {
  using type = int64_t;
  static Distance give(int64_t code) { return static_cast<Distance>(code); }
};

template <class... Arguments>
void add(py::module_& m, const char* name, const char* (*function)(Arguments...)) {
  m.def(name, [=](typename From<Arguments>::type... arguments) {
    const char* error = function(From<Arguments>::give(arguments)...);
    if (error) throw std::runtime_error(std::string(name) + ": " + error);
  });
}

}  // namespace

void bind(py::module_ m) {
#define XFERPIPE_ADD(name) add(m, #name, &name)
  XFERPIPE_ADD(squared_norms);
  XFERPIPE_ADD(rank_metrics_counts);
  XFERPIPE_ADD(rank_metrics_dense);
  XFERPIPE_ADD(rank_metrics_scores);
  XFERPIPE_ADD(nearest_scores);
  XFERPIPE_ADD(symmetric);
  XFERPIPE_ADD(class_sums);
  XFERPIPE_ADD(column_sums);
  XFERPIPE_ADD(gram_squares);
  XFERPIPE_ADD(correlation);
  XFERPIPE_ADD(gradient_sketch_hash);
  XFERPIPE_ADD(gradient_sketch_sparse);
  XFERPIPE_ADD(gradient_sketch_signs);
  XFERPIPE_ADD(gradient_sketch_fold);
  XFERPIPE_ADD(gradient_sketch_hadamard);
  XFERPIPE_ADD(gradient_sketch_dense);
  XFERPIPE_ADD(gradient_sketch_factor);
  XFERPIPE_ADD(gradient_outer);
#undef XFERPIPE_ADD
  m.def("symmetric_tiles", &symmetric_tiles);
}

}  // namespace xferpipe::cuda
