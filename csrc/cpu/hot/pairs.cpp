// The product of bfloat16 pairs, compiled with its own instruction set: a machine may have AVX-512
// without it.
#include "kernels.h"
#include "multiply.h"

namespace xferpipe {

void multiply_pairs_avx512(int64_t depth, int64_t rows, const float* a, int64_t a_stride,
                           int64_t column_panels, const float* b, int64_t b_stride,
                           const float* bias, float* c, int64_t c_stride, bool skip_below,
                           int64_t diagonal) {
  avx512::multiply_panels<avx512::Pairs>(depth, rows, a, a_stride, column_panels, b, b_stride, bias,
                                         c, c_stride, skip_below, diagonal);
}

}  // namespace xferpipe
