// The table of hot loops that each instruction set provides; csrc/cpu/dispatch.cpp picks one.
// csrc/cpu/hot/kernels.cpp is compiled once per instruction set. It includes no standard container:
// an inline function compiled for AVX-512 could otherwise be the copy the linker keeps for all.
#pragma once
#include <cstdint>

namespace xferpipe {

// With more thresholds than this, count_above leaves marks to be summed forward (see counting.h).
constexpr int64_t kMarkedAbove = 128;

// c[i][j] = (c[i][j] + sum over k of a[i][k] b[j][k]) + bias[j] for `rows` packed rows and whole column
// panels; the sum starts from 0 and takes k in order. Rows of c past `rows`, up to a whole panel, may
// be overwritten. `bias` may be null. With `skip_below`, entries below the diagonal may be left
// as they are; the diagonal starts `diagonal` columns to the right of column 0.
using Multiply = void(int64_t depth, int64_t rows, const float* a, int64_t a_stride,
                      int64_t column_panels, const float* b, int64_t b_stride, const float* bias,
                      float* c, int64_t c_stride, bool skip_below, int64_t diagonal);
Multiply multiply_pairs_avx512;

struct Kernels {
  const char* name;
  int64_t row_panel;     // rows of the left operand per register tile
  int64_t column_panel;  // columns of the right operand per register tile

  // Packs `count` rows of `depth` values into panels of `width` rows: out[panel][k][row in panel].
  // A null pointer stands for a row of zeros. `scales` (one per row) may be null.
  void (*pack_rows)(const char* const* rows, const float* scales, int64_t count, int64_t depth,
                    int64_t width, bool bfloat16, float* out);
  // One right panel from up to column_panel columns: out[k][column] = columns[column][k * step].
  // Columns next to each other in memory are moved together.
  void (*pack_columns)(const float* const* columns, int64_t count, int64_t depth, int64_t step,
                       float* out);
  // The same as pack_rows for pairs of bfloat16 values, kept as they are: out[panel][k / 2][row] holds two.
  void (*pack_pairs)(const char* const* rows, int64_t count, int64_t depth, int64_t width,
                     float* out);
  // One step of both operands of a symmetric product: `columns` values (a multiple of both panel
  // widths) into left[panel][step][row in panel] and right[panel][step][column in panel].
  void (*pack_step)(const float* values, int64_t columns, int64_t depth, int64_t step, float* left,
                    float* right);
  // Columns [first, first + count) of a right panel into as many rows of a left panel that starts,
  // with the first of them, at `out`.
  void (*copy_left)(const float* right, int64_t first, int64_t count, int64_t depth, float* out);
  Multiply* multiply;
  Multiply* multiply_pairs;  // of bfloat16 pairs; null where the machine has no such product
  // A tile of D A^T for the samples of one right panel, a sample per lane: out[(r * columns + c)][lane]
  // is the sum over q of left[r * positions + q][lane] right[c * positions + q][lane], for the first
  // `lanes` lanes at least; with `add` it is added to what is there.
  void (*factor_tile)(int64_t positions, int64_t rows, const float* left, int64_t columns,
                      const float* right, int64_t lanes, bool add, float* out);
  // counts[t] += number of scores > thresholds[t]. Thresholds do not increase with t; they are padded
  // with +infinity, and the counts with anything, to a multiple of 16. `buffer` holds columns + 16.
  void (*count_above)(const float* scores, int64_t columns, const float* thresholds, int64_t count,
                      int32_t* counts, float* buffer);
  // Indices of scores > threshold, ascending; returns how many. `out` holds columns + 16.
  int64_t (*select_above)(const float* scores, int64_t columns, float threshold, int32_t* out);
  // Sum of squares of a row in float64: finite exactly when every value of a float32 row is.
  double (*squared_norm)(const char* row, int64_t columns, bool bfloat16);
  float (*dot)(const char* a, const char* b, int64_t columns, bool bfloat16);
  // Buckets and signs of the sparse projection, two coordinates per generator call (core/random.h).
  void (*bucket_table)(uint64_t seed, uint64_t call, int64_t calls, uint32_t buckets,
                       uint32_t* table);
  // sums[bucket][sample] += +-rows[sample][j] for up to 16 samples; table[j] holds bucket and sign
  // (top bit). `sums` has 16 floats per bucket, `buffer` room for 16 * 1024.
  void (*scatter)(const char* const* rows, int64_t count, int64_t columns, bool bfloat16,
                  const uint32_t* table, float* sums, float* buffer);
  // into[j] += +-row[first + j], minus where bit first_bit + j is set.
  void (*add_signed)(const char* row, int64_t first, int64_t count, bool bfloat16,
                     const uint32_t* bits, int64_t first_bit, float* into);
  // Multiply-adds on registers alone, `loop_operations` floating-point operations a step.
  float (*multiply_add_loop)(int64_t steps);
  int64_t loop_operations;
  // into[j] += from[j]
  void (*add_to_double)(const float* from, int64_t count, double* into);
};

// Null when the instruction set was not compiled in.
const Kernels* kernels_avx512();
const Kernels* kernels_avx2();
const Kernels* kernels_scalar();

const Kernels& kernels();  // the chosen set

}  // namespace xferpipe
