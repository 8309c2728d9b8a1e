#include "gradient_sketch.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "../core/parallel.h"
#include "../core/random.h"
#include "../core/workspace.h"
#include "score_tiles.h"

namespace xferpipe {
namespace {

constexpr int64_t kTableCoordinates = 1 << 20;  // hashed at once: 4 MB
constexpr int64_t kSparseRows = 16;             // samples that share one pass over the table
constexpr int64_t kSignBlock = 128;             // signs per call of the generator

// Signs of rows [first_row, first_row + rows) and columns [0, columns) as panels of +-1.
void pack_signs(uint64_t seed, Stream stream, int64_t rows, int64_t columns, int64_t width,
                float* out) {
  for (int64_t r = 0; r < round_up(rows, width); ++r) {
    float* column = out + r / width * width * columns + r % width;
    for (int64_t block = 0; block * kSignBlock < columns; ++block) {
      const Words words = philox(seed, stream, sign_index(r, columns, block));
      const int64_t end = std::min(kSignBlock, columns - block * kSignBlock);
      for (int64_t b = 0; b < end; ++b) {
        const bool minus = words.w[b / 32] >> (b % 32) & 1;
        column[(block * kSignBlock + b) * width] = r >= rows ? 0.0f : minus ? -1.0f : 1.0f;
      }
    }
  }
}

}  // namespace

void gradient_sketch_sparse(const Matrix& gradients, int64_t k, uint64_t seed, int64_t first,
                            float* out) {
  const int64_t n = gradients.rows, p = gradients.columns;
  const int64_t bytes = gradients.bfloat16 ? 2 : 4;
  std::vector<uint32_t> hashed(std::min(kTableCoordinates, p) + 2);
  for (int64_t start = 0; start < p; start += kTableCoordinates) {
    const int64_t count = std::min(kTableCoordinates, p - start);
    const int64_t origin = first + start;
    // Two coordinates share a call of the generator; an odd origin is the second of its call.
    const int64_t calls = (origin + count + 1) / 2 - origin / 2;
    constexpr int64_t kCalls = 2048;
    parallel_items((calls + kCalls - 1) / kCalls, [&](int64_t, int64_t item) {
      const int64_t from = item * kCalls;
      kernels().bucket_table(seed, origin / 2 + from, std::min(kCalls, calls - from),
                             static_cast<uint32_t>(k), hashed.data() + 2 * from);
    });
    const uint32_t* table = hashed.data() + origin % 2;
    parallel_items((n + kSparseRows - 1) / kSparseRows, [&](int64_t, int64_t item) {
      const int64_t at = item * kSparseRows, rows = std::min(kSparseRows, n - at);
      const char* pointers[kSparseRows];
      for (int64_t i = 0; i < rows; ++i) pointers[i] = gradients.row(at + i) + bytes * start;
      // Sixteen samples side by side: one bucket is one vector.
      float* sums = workspace().get<float>(Scratch::kTile, k * kSparseRows);
      for (int64_t b = 0; b < k; b += kSparseRows) {
        for (int64_t i = 0; i < kSparseRows; ++i) {
          for (int64_t c = b; c < std::min(k, b + kSparseRows); ++c) {
            sums[c * kSparseRows + i] = i < rows ? out[(at + i) * k + c] : 0.0f;
          }
        }
      }
      kernels().scatter(pointers, rows, count, gradients.bfloat16, table, sums,
                        workspace().get<float>(Scratch::kRow, 1024 * kSparseRows));
      for (int64_t b = 0; b < k; b += kSparseRows) {
        for (int64_t i = 0; i < rows; ++i) {
          for (int64_t c = b; c < std::min(k, b + kSparseRows); ++c) {
            out[(at + i) * k + c] = sums[c * kSparseRows + i];
          }
        }
      }
    });
  }
}

void gradient_sketch_fold(const Matrix& gradients, int64_t size, uint64_t seed, int64_t first,
                          float* folded) {
  const int64_t n = gradients.rows, p = gradients.columns;
  constexpr int64_t kPiece = 1 << 15;
  std::vector<uint32_t> signs(kPiece / 32 + 8);
  for (int64_t start = 0; start < p; start += kPiece) {
    // Signs of whole generator blocks around the piece; `skip` is where the piece starts in them.
    const int64_t origin = first + start, block = origin / kSignBlock, skip = origin % kSignBlock;
    const int64_t count = std::min(kPiece, p - start);
    signs.resize(static_cast<size_t>(round_up(skip + count, kSignBlock) / 32));
    for (int64_t b = 0; b < static_cast<int64_t>(signs.size()) / 4; ++b) {
      const Words words = philox(seed, Stream::kHadamardSigns, static_cast<uint64_t>(block + b));
      std::copy_n(words.w, 4, signs.data() + 4 * b);
    }
    parallel_items(n, [&](int64_t, int64_t i) {
      const char* row = gradients.row(i);
      int64_t to = origin % size;
      for (int64_t j = 0; j < count;) {
        const int64_t run = std::min(count - j, size - to);
        kernels().add_signed(row, start + j, run, gradients.bfloat16, signs.data(), skip + j,
                             folded + i * size + to);
        j += run;
        to = 0;
      }
    });
  }
}

void gradient_sketch_hadamard(float* folded, int64_t n, int64_t size, const int64_t* chosen,
                              int64_t k, float scale, float* out) {
  parallel_items(n, [&](int64_t, int64_t i) {
    float* row = folded + i * size;
    for (int64_t half = 1; half < size; half *= 2) {
      for (int64_t start = 0; start < size; start += 2 * half) {
        float* a = row + start;
        float* b = a + half;
        for (int64_t j = 0; j < half; ++j) {
          const float x = a[j], y = b[j];
          a[j] = x + y;
          b[j] = x - y;
        }
      }
    }
    for (int64_t j = 0; j < k; ++j) out[i * k + j] = scale * row[chosen[j]];
  });
}

void gradient_sketch_dense(const Matrix& gradients, int64_t k, uint64_t seed, int64_t first,
                           int64_t p_total, bool normal, float scale, float* out) {
  const Kernels& kern = kernels();
  const int64_t n = gradients.rows, p = gradients.columns;
  const int64_t bytes = gradients.bfloat16 ? 2 : 4;
  const int64_t width = kern.column_panel, columns = round_up(std::min<int64_t>(128, k), width);
  const int64_t padded_n = round_up(n, kern.row_panel);
  // Aligned to the coordinate's own number, so that pieces of a row give the same sums.
  int64_t start = 0;
  while (start < p) {
    const int64_t depth =
        std::min(p - start, kDepthBlock - (first + start) % kDepthBlock);
    float* left = workspace().get<float>(Scratch::kLeft, padded_n * kDepthBlock);
    parallel_items(padded_n / kern.row_panel, [&](int64_t, int64_t panel) {
      const char* rows[64];
      const int64_t at = panel * kern.row_panel, count = std::min(kern.row_panel, n - at);
      for (int64_t i = 0; i < count; ++i) rows[i] = gradients.row(at + i) + bytes * start;
      kern.pack_rows(rows, nullptr, count, depth, kern.row_panel, gradients.bfloat16,
                     left + at * depth);
    });
    parallel_items((k + columns - 1) / columns, [&](int64_t, int64_t item) {
      const int64_t column = item * columns, count = std::min(columns, k - column);
      const int64_t padded = round_up(count, width);
      Workspace& own = workspace();
      float* right = own.get<float>(Scratch::kRight, columns * kDepthBlock);
      float* tile = own.get<float>(Scratch::kTile, padded_n * columns);
      for (int64_t c = 0; c < padded; ++c) {
        float* at = right + c / width * width * depth + c % width;
        for (int64_t s = 0; s < depth;) {
          const int64_t j = first + start + s;
          if (c >= count) {
            for (; s < depth; ++s) at[s * width] = 0.0f;
          } else if (normal) {
            const uint64_t index = static_cast<uint64_t>(column + c) *
                                       static_cast<uint64_t>((p_total + 3) / 4) + j / 4;
            const Words words = philox(seed, Stream::kDense, index);
            for (int64_t w = j % 4; w < 4 && s < depth; ++w, ++s) {
              at[s * width] = gaussian(words.w[w]);
            }
          } else {
            const Words words = philox(seed, Stream::kDense,
                                       sign_index(column + c, p_total, j / kSignBlock));
            for (int64_t b = j % kSignBlock; b < kSignBlock && s < depth; ++b, ++s) {
              at[s * width] = (words.w[b / 32] >> (b % 32) & 1) ? -1.0f : 1.0f;
            }
          }
        }
      }
      std::memset(tile, 0, sizeof(float) * padded_n * padded);
      kern.multiply(depth, n, left, depth * kern.row_panel, padded / width,
                    right, depth * width, nullptr, tile, padded, false, 0);
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t c = 0; c < count; ++c) {
          out[i * k + column + c] += scale * tile[i * padded + c];
        }
      }
    });
    start += depth;
  }
}

void gradient_sketch_kronecker(const Factors& f, int64_t k1, int64_t k2, int64_t k, uint64_t seed,
                               float* out) {
  const Kernels& kern = kernels();
  const int64_t q = f.positions, panel = kern.column_panel;
  const int64_t rows1 = round_up(k1, kern.row_panel), rows2 = round_up(k2, kern.row_panel);
  std::vector<float> signs1(rows1 * f.output_count), signs2(rows2 * f.input_count);
  pack_signs(seed, Stream::kLeftFactor, k1, f.output_count, kern.row_panel, signs1.data());
  pack_signs(seed, Stream::kRightFactor, k2, f.input_count, kern.row_panel, signs2.data());
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(k)));
  const int64_t columns2 = round_up(k2, panel);
  // Samples that share panels: their positions stand side by side, so that a panel of 32 columns has
  // no gap after every 49 of them.
  const int64_t group = std::clamp<int64_t>(24 * panel / q, 1, 64);
  parallel_items((f.samples + group - 1) / group, [&](int64_t, int64_t item) {
    const int64_t first = item * group, samples = std::min(group, f.samples - first);
    const int64_t wide = round_up(samples * q, panel);
    Workspace& own = workspace();
    float* small = own.get<float>(Scratch::kSums, (rows1 + rows2) * wide);
    float* packed = own.get<float>(Scratch::kRight, panel * kDepthBlock);
    std::memset(small, 0, sizeof(float) * (rows1 + rows2) * wide);
    const auto project = [&](const float* factor, int64_t depth, const float* signs, int64_t rows,
                             float* into) {
      const float* columns[64];
      for (int64_t at = 0; at < depth; at += kDepthBlock) {
        const int64_t steps = std::min(kDepthBlock, depth - at);
        for (int64_t c = 0; c < wide; c += panel) {
          const int64_t count = std::min(panel, samples * q - c);
          for (int64_t j = 0; j < count; ++j) {
            columns[j] = factor + ((first + (c + j) / q) * depth + at) * q + (c + j) % q;
          }
          kern.pack_columns(columns, count, steps, q, packed);
          kern.multiply(steps, rows, signs + at * kern.row_panel, depth * kern.row_panel, 1, packed,
                        0, nullptr, into + c, wide, false, 0);
        }
      }
    };
    project(f.outputs, f.output_count, signs1.data(), k1, small);
    project(f.inputs, f.input_count, signs2.data(), k2, small + rows1 * wide);
    float* left = own.get<float>(Scratch::kLeft, (rows1 + columns2) * q);
    float* right = left + rows1 * q;
    float* tile = own.get<float>(Scratch::kTile, rows1 * columns2);
    std::vector<const char*> pointers(std::max(k1, k2));
    for (int64_t i = 0; i < samples; ++i) {
      const auto pack = [&](const float* from, int64_t rows, int64_t width, float* into) {
        for (int64_t r = 0; r < rows; ++r) {
          pointers[r] = reinterpret_cast<const char*>(from + r * wide + i * q);
        }
        kern.pack_rows(pointers.data(), nullptr, rows, q, width, false, into);
      };
      pack(small, k1, kern.row_panel, left);
      pack(small + rows1 * wide, k2, panel, right);
      std::memset(tile, 0, sizeof(float) * rows1 * columns2);
      kern.multiply(q, k1, left, q * kern.row_panel, columns2 / panel, right, q * panel, nullptr,
                    tile, columns2, false, 0);
      float* row = out + (first + i) * k;
      for (int64_t r = 0; r * k2 < k; ++r) {
        for (int64_t c = 0; c < std::min(k2, k - r * k2); ++c) {
          row[r * k2 + c] = scale * tile[r * columns2 + c];
        }
      }
    }
  });
}

}  // namespace xferpipe
