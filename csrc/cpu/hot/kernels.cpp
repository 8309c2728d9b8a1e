// Compiled once per instruction set (setup.py passes the flags); see kernels.h.
#include "kernels.h"

#include "counting.h"
#include "multiply.h"
#include "pack.h"
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
#if defined(__AVX512F__)
      static_cast<bool>(__builtin_cpu_supports("avx512bf16")),
#else
      false,
#endif
      isa::pack_rows,
      isa::pack_pairs,
      isa::pack_step,
      isa::copy_left,
      isa::multiply,
#if defined(__AVX512F__)
      isa::multiply_pairs,
#else
      nullptr,
#endif
      isa::count_above,
      isa::select_above,
      isa::squared_norm,
      isa::dot,
      isa::scatter,
      isa::add_signed,
      isa::multiply_add_loop,
      isa::kLoopOperations,
      isa::add_to_double,
  };
  return &table;
}

}  // namespace xferpipe
