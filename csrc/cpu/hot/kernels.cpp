// Compiled once per instruction set (setup.py passes the flags); see kernels.h.
#include "kernels.h"

#include "counting.h"
#include "factors.h"
#if defined(__AVX2__) && !defined(__AVX512F__)
#include "multiply_avx2.h"
#else
#include "multiply.h"
#endif
#include "pack.h"
#include "peak.h"
#include "sketching.h"

#define XFERPIPE_JOIN(a, b) a##b
#define XFERPIPE_TABLE(isa) XFERPIPE_JOIN(kernels_, isa)
#define XFERPIPE_TEXT_(x) #x
#define XFERPIPE_TEXT(x) XFERPIPE_TEXT_(x)

namespace xferpipe {

const Kernels* XFERPIPE_TABLE(XFERPIPE_ISA)() {
  namespace isa = XFERPIPE_ISA;
  static const Kernels table = {
      XFERPIPE_TEXT(XFERPIPE_ISA),
      isa::kRowPanel,
      isa::kColumnPanel,
      isa::pack_rows,
      isa::pack_columns,
      isa::pack_pairs,
      isa::pack_step,
      isa::copy_left,
#if defined(__AVX2__) && !defined(__AVX512F__)
      isa::multiply_panels_ahead,
#else
      isa::multiply_panels<isa::Singles>,
#endif
#if defined(__AVX512F__)
      __builtin_cpu_supports("avx512bf16") ? multiply_pairs_avx512 : nullptr,
#else
      nullptr,
#endif
      isa::factor_tile,
      isa::count_above,
      isa::select_above,
      isa::squared_norm,
      isa::dot,
      isa::bucket_table,
      isa::scatter,
      isa::add_signed,
      isa::multiply_add_loop,
      isa::kLoopOperations,
      isa::add_to_double,
  };
  return &table;
}

}  // namespace xferpipe
