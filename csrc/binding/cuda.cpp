// The CUDA kernels as ops of their own, which src/xferpipe/ops/cuda makes the public ones of. They
// allocate results through torch, run on its current stream and never wait for the device. The tests
// build this file for the CPU, with another name and key (tests/cuda/conftest.py).
#include <dlfcn.h>
#include <torch/csrc/stable/accelerator.h>

#include <optional>
#include <tuple>

#include "../cuda/launch.h"
#include "checks.h"

#if !defined(XFERPIPE_KERNELS)
#define XFERPIPE_KERNELS xferpipe_cuda
#define XFERPIPE_KERNELS_KEY CUDA
#endif

namespace xferpipe::binding {
namespace {

namespace kernels = xferpipe::cuda;
using MaybeTensor = std::optional<Tensor>;

// The device of a tensor is current while this lives.
class OnDevice {
 public:
  explicit OnDevice(const Tensor& t) {
    if (!t.is_cuda()) return;
    guard_.emplace(t.get_device_index());
    // torch's stable headers give no CUDA stream in a build without CUDA, and its library of CUDA
    // functions is loaded already where there is a CUDA tensor.
    using Function = int32_t (*)(int32_t, void**);
    static const auto current = [] {
      void* library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
      return reinterpret_cast<Function>(
          library ? dlsym(library, "aoti_torch_get_current_cuda_stream") : nullptr);
    }();
    STD_TORCH_CHECK(current && current(t.get_device_index(), &stream_) == 0,
                    "torch's current CUDA stream is not to be had");
  }
  void* stream() const { return stream_; }

 private:
  std::optional<torch::stable::accelerator::DeviceGuard> guard_;
  void* stream_ = nullptr;
};

void launched(const char* error, const char* name) {
  STD_TORCH_CHECK(error == nullptr, name, ": ", error);
}

void same_device(const Tensor& first, const Tensor& other, const char* name) {
  STD_TORCH_CHECK(first.is_cuda() == other.is_cuda() &&
                      (!first.is_cuda() || first.get_device_index() == other.get_device_index()),
                  name, " lies on another device; all tensors must be on one");
}

template <class T>
const T* read(const Tensor& like, const Tensor& t, ScalarType type, int64_t length,
              const char* name) {
  same_device(like, t, name);
  return vector<T>(t, type, length, name);
}
template <class T>
const T* read(const Tensor& like, const MaybeTensor& t, ScalarType type, int64_t length,
              const char* name) {
  return t ? read<T>(like, *t, type, length, name) : nullptr;
}
template <class T>
T* write(const Tensor& like, Tensor& t, ScalarType type, int64_t length, const char* name) {
  read<T>(like, t, type, length, name);
  return output<T>(t);
}

Tensor squared_norms(Tensor rows) {
  const Matrix m = matrix(rows, "rows");
  const OnDevice device(rows);
  Tensor out = make(rows, {m.rows}, ScalarType::Double);
  launched(kernels::squared_norms(m, output<double>(out), device.stream()), "squared_norms");
  return out;
}

// Scores of queries, of which the first `columns` of each row count; the rest is padding.
Matrix score_rows(const Tensor& scores, int64_t columns) {
  Matrix m = matrix(scores, "scores");
  STD_TORCH_CHECK(!m.bfloat16, "scores must be float32");
  STD_TORCH_CHECK(columns >= 0 && columns <= m.columns && columns < int64_t{0xffffffff},
                  "columns is ", columns, " but there are ", m.columns);
  m.columns = columns;
  return m;
}

void count_before(Tensor scores, int64_t columns, Tensor offsets, Tensor index,
                  MaybeTensor pair_scores, int64_t first_row, Tensor nearer) {
  const Matrix m = score_rows(scores, columns);
  const int64_t pairs = index.numel();
  const OnDevice device(scores);
  launched(kernels::count_before(
               static_cast<const float*>(m.data), m.rows, m.stride, m.columns,
               read<int64_t>(scores, offsets, ScalarType::Long, m.rows + 1, "offsets"),
               read<int64_t>(scores, index, ScalarType::Long, pairs, "index"), pairs,
               read<float>(scores, pair_scores, ScalarType::Float, pairs, "pair_scores"), first_row,
               write<int64_t>(scores, nearer, ScalarType::Long, pairs, "nearer"), device.stream()),
           "count_before");
}

// Scores and rows (ranges, queries, k) and the lowest score of each range (ranges, queries).
std::tuple<Tensor, Tensor, Tensor> best_of_rows(Tensor scores, int64_t columns, int64_t k,
                                                int64_t first_row) {
  const Matrix m = score_rows(scores, columns);
  STD_TORCH_CHECK(k >= 1 && k <= kernels::longest_list(), "k is ", k, " but must be 1 .. ",
                  kernels::longest_list());
  const int64_t ranges = kernels::column_ranges(m.rows, m.columns);
  const OnDevice device(scores);
  Tensor best = make(scores, {ranges, m.rows, k}, ScalarType::Float);
  Tensor rows = make(scores, {ranges, m.rows, k}, ScalarType::Long);
  Tensor lowest = make(scores, {ranges, m.rows}, ScalarType::Float);
  launched(kernels::best_of_rows(static_cast<const float*>(m.data), m.rows, m.stride, m.columns, k,
                                 first_row, output<float>(best), output<int64_t>(rows),
                                 output<float>(lowest), device.stream()),
           "best_of_rows");
  return {best, rows, lowest};
}

// How much is wrong with pairs of `queries` queries and gallery rows below `rows`, int64 (1).
Tensor wrong_pairs(Tensor offsets, Tensor index, int64_t queries, int64_t rows) {
  const auto* at = read<int64_t>(offsets, offsets, ScalarType::Long, queries + 1, "offsets");
  const OnDevice device(offsets);
  Tensor wrong = torch::stable::new_zeros(offsets, {1});
  launched(kernels::check_pairs(
               at, read<int64_t>(offsets, index, ScalarType::Long, index.numel(), "index"), queries,
               index.numel(), rows, output<int64_t>(wrong), device.stream()),
           "check_pairs");
  return wrong;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> rank_metrics_summary(Tensor offsets,
                                                                        Tensor nearer, Tensor junk,
                                                                        int64_t ap_kind) {
  const int64_t queries = offsets.numel() - 1, pairs = nearer.numel();
  const auto* at = read<int64_t>(offsets, offsets, ScalarType::Long, queries + 1, "offsets");
  const OnDevice device(offsets);
  Tensor ap = make(offsets, {queries}, ScalarType::Double);
  Tensor inp = make(offsets, {queries}, ScalarType::Double);
  Tensor first = make(offsets, {queries}, ScalarType::Long);
  Tensor hits = make(offsets, {queries}, ScalarType::Long);
  Tensor dropped = make(offsets, {queries}, ScalarType::Long);
  launched(kernels::rank_metrics_summary(
               at, queries, read<int64_t>(offsets, nearer, ScalarType::Long, pairs, "nearer"),
               read<uint8_t>(offsets, junk, ScalarType::Bool, pairs, "junk"), ap_kind == 1,
               output<double>(ap), output<double>(inp), output<int64_t>(first),
               output<int64_t>(hits), output<int64_t>(dropped), device.stream()),
           "rank_metrics_summary");
  return {ap, inp, first, hits, dropped};
}

// out (planes, rows, columns), float16 or bfloat16, columns next to each other; with a tail
// (csrc/cuda/launch.h) planes of a row lie next to each other and the tail after them.
void split(Tensor rows, MaybeTensor shift, MaybeTensor scale, MaybeTensor norms, int64_t tail,
           int64_t lows, Tensor out) {
  const Matrix m = matrix(rows, "rows");
  same_device(rows, out, "out");
  const bool float16 = out.scalar_type() == ScalarType::Half;
  STD_TORCH_CHECK(float16 || out.scalar_type() == ScalarType::BFloat16,
                  "out must be float16 or bfloat16");
  STD_TORCH_CHECK(out.dim() == 3 && out.size(1) >= m.rows && out.size(2) >= m.columns &&
                      out.size(0) <= 8 && (out.size(2) <= 1 || out.stride(2) == 1),
                  "out must be (up to 8 planes, rows or more, columns or more)");
  STD_TORCH_CHECK(lows == 0 || !float16, "low parts are bfloat16");
  const auto kind = static_cast<kernels::Tail>(tail);
  const bool appended = kind == kernels::Tail::kOnes || kind == kernels::Tail::kHalfNorm;
  // torch is free in the strides of single planes and rows.
  STD_TORCH_CHECK(!appended ||
                      ((out.size(0) == 1 || out.stride(0) == out.size(2)) &&
                       (out.size(1) <= 1 ||
                        out.stride(1) >= out.size(0) * out.size(2) + kernels::kTailColumns)),
                  "there is no room for the tail");
  STD_TORCH_CHECK(norms.has_value() ==
                      (kind == kernels::Tail::kHalfNorm || kind == kernels::Tail::kUnit),
                  "norms belong to tails 2 and 3");
  const bool one_scale = scale && scale->numel() == 1;
  const kernels::RowChanges changes = {
      read<double>(rows, shift, ScalarType::Double, m.columns, "shift"),
      read<float>(rows, scale, ScalarType::Float, one_scale ? 1 : m.rows, "scale"),
      one_scale ? 0 : 1, read<double>(rows, norms, ScalarType::Double, m.rows, "norms")};
  const kernels::SplitTarget target = {
      output<uint16_t>(out),  out.size(1), out.size(2), out.stride(1), out.stride(0),
      static_cast<int>(out.size(0)), static_cast<int>(lows), float16, kind};
  const OnDevice device(rows);
  launched(kernels::split(m, changes, target, device.stream()), "split");
}

// Powers of two that bring numbers up to `largest` into float16.
Tensor float16_scale(Tensor largest) {
  const OnDevice device(largest);
  Tensor scale = make(largest, {largest.numel()}, ScalarType::Float);
  launched(kernels::float16_scale(
               read<float>(largest, largest, ScalarType::Float, largest.numel(), "largest"),
               largest.numel(), output<float>(scale), device.stream()),
           "float16_scale");
  return scale;
}

void class_sums(Tensor features, Tensor order, Tensor starts, Tensor sums, Tensor largest) {
  const Matrix m = matrix(features, "features");
  const int64_t classes = starts.numel() - 1;
  const OnDevice device(features);
  launched(kernels::class_sums(
               m, read<int64_t>(features, order, ScalarType::Long, m.rows, "order"),
               read<int64_t>(features, starts, ScalarType::Long, classes + 1, "starts"), classes,
               write<double>(features, sums, ScalarType::Double, classes * m.columns, "sums"),
               write<int>(features, largest, ScalarType::Int, 1, "largest"), device.stream()),
           "class_sums");
}

// mean (d) and partial sums (tiles, 3) from sums of classes.
std::tuple<Tensor, Tensor> class_moments(Tensor sums, Tensor starts, int64_t n) {
  STD_TORCH_CHECK(sums.dim() == 2, "sums must be (classes, d)");
  const int64_t classes = sums.size(0), d = sums.size(1);
  const OnDevice device(sums);
  Tensor mean = make(sums, {d}, ScalarType::Double);
  Tensor partial = make(sums, {kernels::mean_tiles(d), 3}, ScalarType::Double);
  launched(kernels::class_moments(
               read<double>(sums, sums, ScalarType::Double, classes * d, "sums"),
               read<int64_t>(sums, starts, ScalarType::Long, classes + 1, "starts"), classes, d, n,
               output<double>(mean), output<double>(partial), device.stream()),
           "class_moments");
  return {mean, partial};
}

Tensor correlation(Tensor class_partial, Tensor gram_partial, Tensor starts, int64_t n, bool raw,
                   Tensor power, MaybeTensor along) {
  const int64_t class_tiles = class_partial.numel() / 3, gram_tiles = gram_partial.numel() / 2;
  const OnDevice device(class_partial);
  Tensor out = make(class_partial, {}, ScalarType::Double);
  launched(kernels::correlation(
               read<double>(class_partial, class_partial, ScalarType::Double, 3 * class_tiles,
                            "class_partial"),
               class_tiles,
               read<double>(class_partial, gram_partial, ScalarType::Double, 2 * gram_tiles,
                            "gram_partial"),
               gram_tiles,
               read<int64_t>(class_partial, starts, ScalarType::Long, starts.numel(), "starts"),
               starts.numel() - 1, n, raw,
               read<float>(class_partial, power, ScalarType::Float, 1, "power"),
               read<double>(class_partial, along, ScalarType::Double, 1, "along"),
               output<double>(out), device.stream()),
           "correlation");
  return out;
}

void add_panel(Tensor sums, int64_t first, int64_t padded, Tensor gram, MaybeTensor cross) {
  STD_TORCH_CHECK(sums.dim() == 3 && gram.dim() == 2, "sums must be (slabs, height, width)");
  const int64_t slabs = sums.size(0), height = sums.size(1), width = sums.size(2);
  const int64_t n = gram.size(0);
  STD_TORCH_CHECK(padded >= n && width == padded - first + (cross ? padded : 0),
                  "the width of sums does not fit the rows from ", first, " on");
  const OnDevice device(sums);
  launched(kernels::add_panel(
               read<float>(sums, sums, ScalarType::Float, sums.numel(), "sums"), slabs, height,
               width, first, padded, n,
               write<double>(sums, gram, ScalarType::Double, n * n, "gram"),
               cross ? write<double>(sums, *cross, ScalarType::Double, n * n, "cross") : nullptr,
               device.stream()),
           "add_panel");
}

// (tiles, 2), float64.
Tensor gram_moments(Tensor gram, MaybeTensor cross, MaybeTensor mean) {
  const int64_t n = gram.size(0);
  const OnDevice device(gram);
  Tensor partial = make(gram, {kernels::moment_tiles(n), 2}, ScalarType::Double);
  launched(kernels::gram_moments(
               read<double>(gram, gram, ScalarType::Double, n * n, "gram"),
               read<double>(gram, cross, ScalarType::Double, n * n, "cross"),
               read<double>(gram, mean, ScalarType::Double, n, "mean"), n, output<double>(partial),
               device.stream()),
           "gram_moments");
  return partial;
}

// start and length (queries) of each query's rows in identities in order.
std::tuple<Tensor, Tensor> pair_bounds(Tensor ordered, Tensor identity) {
  const int64_t queries = identity.numel();
  const OnDevice device(ordered);
  Tensor start = make(ordered, {queries}, ScalarType::Long);
  Tensor length = make(ordered, {queries}, ScalarType::Long);
  launched(kernels::pair_bounds(
               read<int64_t>(ordered, ordered, ScalarType::Long, ordered.numel(), "ordered"),
               ordered.numel(),
               read<int64_t>(ordered, identity, ScalarType::Long, queries, "identity"), queries,
               output<int64_t>(start), output<int64_t>(length), device.stream()),
           "pair_bounds");
  return {start, length};
}

// index and junk (pairs); without cameras nothing is junk.
std::tuple<Tensor, Tensor> fill_pairs(Tensor start, Tensor offsets, Tensor order, int64_t pairs,
                                      MaybeTensor query_camera, MaybeTensor gallery_camera) {
  const int64_t queries = start.numel(), rows = order.numel();
  STD_TORCH_CHECK(query_camera.has_value() == gallery_camera.has_value(),
                  "cameras are known of both sides or of none");
  const OnDevice device(start);
  Tensor index = make(start, {pairs}, ScalarType::Long);
  Tensor junk = make(start, {pairs}, ScalarType::Bool);
  launched(kernels::fill_pairs(
               read<int64_t>(start, start, ScalarType::Long, queries, "start"),
               read<int64_t>(start, offsets, ScalarType::Long, queries + 1, "offsets"), queries,
               read<int64_t>(start, order, ScalarType::Long, rows, "order"),
               read<int64_t>(start, query_camera, ScalarType::Long, queries, "query_camera"),
               read<int64_t>(start, gallery_camera, ScalarType::Long, rows, "gallery_camera"),
               output<int64_t>(index), output<uint8_t>(junk), device.stream()),
           "fill_pairs");
  return {index, junk};
}

// out (rows, columns): columns `first` and following of a matrix of signs `total` wide.
void random_signs(int64_t seed, int64_t stream, int64_t first, int64_t total, Tensor out) {
  const bool float16 = out.scalar_type() == ScalarType::Half;
  STD_TORCH_CHECK((float16 || out.scalar_type() == ScalarType::BFloat16) && out.dim() == 2 &&
                      out.is_contiguous() && first % 128 == 0,
                  "signs are float16 or bfloat16 (rows, columns), from a multiple of 128 on");
  const OnDevice device(out);
  launched(kernels::random_signs(static_cast<uint64_t>(seed), stream, out.size(0), first,
                                 out.size(1), total, float16, output<uint16_t>(out),
                                 device.stream()),
           "random_signs");
}

void random_normals(int64_t seed, int64_t first, int64_t total, Tensor out) {
  STD_TORCH_CHECK(out.scalar_type() == ScalarType::Float && out.dim() == 2 && out.is_contiguous() &&
                      first % 128 == 0,
                  "normal values are float32 (rows, columns), from a multiple of 128 on");
  const OnDevice device(out);
  launched(kernels::random_normals(static_cast<uint64_t>(seed), out.size(0), first, out.size(1),
                                   total, output<float>(out), device.stream()),
           "random_normals");
}

int64_t sketch_width(const Matrix& gradients, const Tensor& like, Tensor& out) {
  STD_TORCH_CHECK(out.dim() == 2 && out.size(0) == gradients.rows && out.size(1) >= 1,
                  "the sketch must have one row per sample and a column or more");
  write<float>(like, out, ScalarType::Float, out.numel(), "sketch");
  return out.size(1);
}

void sparse_sketch(Tensor gradients, int64_t seed, int64_t first, Tensor out) {
  const Matrix m = matrix(gradients, "gradients");
  const int64_t k = sketch_width(m, gradients, out);
  STD_TORCH_CHECK(k < (int64_t{1} << 31), "k must be below 2^31");
  const OnDevice device(gradients);
  Tensor table = make(gradients, {m.columns}, ScalarType::Int);
  Tensor turns = make(gradients, {m.columns}, ScalarType::Short);
  launched(kernels::sparse_hash(static_cast<uint64_t>(seed), first, m.columns, k,
                                output<uint32_t>(table), output<uint16_t>(turns), device.stream()),
           "sparse_hash");
  launched(kernels::sparse_sketch(m, k, output<uint32_t>(table), output<uint16_t>(turns),
                                  output<float>(out), kernels::shared_memory_limit(),
                                  device.stream()),
           "sparse_sketch");
}

void fold(Tensor gradients, int64_t seed, int64_t first, Tensor folded) {
  const Matrix m = matrix(gradients, "gradients");
  const int64_t size = sketch_width(m, gradients, folded);
  const int64_t block = first / 128, blocks = (first + m.columns + 127) / 128 - block;
  const OnDevice device(gradients);
  Tensor signs = make(gradients, {4 * blocks}, ScalarType::Int);
  launched(kernels::sign_words(static_cast<uint64_t>(seed), block, blocks, output<uint32_t>(signs),
                               device.stream()),
           "sign_words");
  launched(kernels::fold(m, size, first, output<uint32_t>(signs), output<float>(folded),
                         device.stream()),
           "fold");
}

// Transforms the rows of values in place.
void hadamard(Tensor values) {
  const Matrix m = matrix(values, "values");
  const int64_t size = sketch_width(m, values, values);
  STD_TORCH_CHECK((size & (size - 1)) == 0, "folded rows must have a power of two entries");
  const OnDevice device(values);
  launched(kernels::hadamard(output<float>(values), m.rows, size, kernels::shared_memory_limit(),
                             device.stream()),
           "hadamard");
}

}  // namespace
}  // namespace xferpipe::binding

STABLE_TORCH_LIBRARY_FRAGMENT(XFERPIPE_KERNELS, m) {
  m.def("squared_norms(Tensor rows) -> Tensor");
  m.def(
      "count_before(Tensor scores, int columns, Tensor offsets, Tensor index, Tensor? pair_scores, "
      "int first_row, Tensor(a!) nearer) -> ()");
  m.def("wrong_pairs(Tensor offsets, Tensor index, int queries, int rows) -> Tensor");
  m.def(
      "rank_metrics_summary(Tensor offsets, Tensor nearer, Tensor junk, int ap_kind) -> "
      "(Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "best_of_rows(Tensor scores, int columns, int k, int first_row) -> (Tensor, Tensor, Tensor)");
  m.def(
      "split(Tensor rows, Tensor? shift, Tensor? scale, Tensor? norms, int tail, int lows, "
      "Tensor(a!) out) -> ()");
  m.def("float16_scale(Tensor largest) -> Tensor");
  m.def("class_moments(Tensor sums, Tensor starts, int n) -> (Tensor, Tensor)");
  m.def(
      "correlation(Tensor class_partial, Tensor gram_partial, Tensor starts, int n, bool raw, "
      "Tensor power, Tensor? along) -> Tensor");
  m.def(
      "class_sums(Tensor features, Tensor order, Tensor starts, Tensor(a!) sums, "
      "Tensor(b!) largest) -> ()");
  m.def(
      "add_panel(Tensor sums, int first, int padded, Tensor(a!) gram, Tensor(b!)? cross) -> ()");
  m.def("gram_moments(Tensor gram, Tensor? cross, Tensor? mean) -> Tensor");
  m.def("pair_bounds(Tensor ordered, Tensor identity) -> (Tensor, Tensor)");
  m.def(
      "fill_pairs(Tensor start, Tensor offsets, Tensor order, int pairs, Tensor? query_camera, "
      "Tensor? gallery_camera) -> (Tensor, Tensor)");
  m.def("random_signs(int seed, int stream, int first, int total, Tensor(a!) out) -> ()");
  m.def("random_normals(int seed, int first, int total, Tensor(a!) out) -> ()");
  m.def("sparse_sketch(Tensor gradients, int seed, int first, Tensor(a!) out) -> ()");
  m.def("fold(Tensor gradients, int seed, int first, Tensor(a!) folded) -> ()");
  m.def("hadamard(Tensor(a!) values) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(XFERPIPE_KERNELS, XFERPIPE_KERNELS_KEY, m) {
  using namespace xferpipe::binding;
  m.impl("squared_norms", TORCH_BOX(&squared_norms));
  m.impl("count_before", TORCH_BOX(&count_before));
  m.impl("wrong_pairs", TORCH_BOX(&wrong_pairs));
  m.impl("rank_metrics_summary", TORCH_BOX(&rank_metrics_summary));
  m.impl("best_of_rows", TORCH_BOX(&best_of_rows));
  m.impl("split", TORCH_BOX(&split));
  m.impl("float16_scale", TORCH_BOX(&float16_scale));
  m.impl("class_moments", TORCH_BOX(&class_moments));
  m.impl("correlation", TORCH_BOX(&correlation));
  m.impl("add_panel", TORCH_BOX(&add_panel));
  m.impl("gram_moments", TORCH_BOX(&gram_moments));
  m.impl("pair_bounds", TORCH_BOX(&pair_bounds));
  m.impl("fill_pairs", TORCH_BOX(&fill_pairs));
  m.impl("class_sums", TORCH_BOX(&class_sums));
  m.impl("random_signs", TORCH_BOX(&random_signs));
  m.impl("random_normals", TORCH_BOX(&random_normals));
  m.impl("sparse_sketch", TORCH_BOX(&sparse_sketch));
  m.impl("fold", TORCH_BOX(&fold));
  m.impl("hadamard", TORCH_BOX(&hadamard));
}
