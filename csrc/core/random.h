// Counter-based random numbers: word(seed, stream, index) is a pure function, so a value does not
// depend on chunking, threads or device. Philox4x32-10 of Salmon et al., SC 2011.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "ranking.h"

// Functions here are static: the hot loops include this file once per instruction set, and an inline
// function compiled for one set could be the copy that the linker keeps for all.
namespace xferpipe {

enum class Stream : uint32_t {
  kSparse = 1,
  kHadamardSigns = 2,
  kHadamardRows = 3,
  kDense = 4,
  kLeftFactor = 5,
  kRightFactor = 6,
};

struct Words {
  uint32_t w[4];
};

constexpr int kPhiloxRounds = 10;

struct PhiloxState {
  uint32_t c0, c1, c2, c3;
};

XFERPIPE_HOST_DEVICE static inline PhiloxState philox_start(Stream stream, uint64_t index) {
  return {static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
          static_cast<uint32_t>(stream), 0};
}

XFERPIPE_HOST_DEVICE static inline void philox_round(uint64_t key, PhiloxState* s) {
  const uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * s->c0;
  const uint64_t p1 = static_cast<uint64_t>(0xCD9E8D57u) * s->c2;
  *s = {static_cast<uint32_t>(p1 >> 32) ^ s->c1 ^ static_cast<uint32_t>(key),
        static_cast<uint32_t>(p1),
        static_cast<uint32_t>(p0 >> 32) ^ s->c3 ^ static_cast<uint32_t>(key >> 32),
        static_cast<uint32_t>(p0)};
}

XFERPIPE_HOST_DEVICE static inline uint64_t philox_next_key(uint64_t key) {
  const uint32_t low = static_cast<uint32_t>(key) + 0x9E3779B9u;
  const uint32_t high = static_cast<uint32_t>(key >> 32) + 0xBB67AE85u;
  return static_cast<uint64_t>(high) << 32 | low;
}

XFERPIPE_HOST_DEVICE static inline Words philox(uint64_t seed, Stream stream, uint64_t index) {
  PhiloxState s = philox_start(stream, index);
  for (int round = 0; round < kPhiloxRounds; ++round, seed = philox_next_key(seed)) {
    philox_round(seed, &s);
  }
  return Words{{s.c0, s.c1, s.c2, s.c3}};
}

// Sparse projection: coordinate j goes to one bucket with one sign. Two coordinates per call.
// The sign is the top bit of the result, the bucket the rest (buckets < 2^31).
XFERPIPE_HOST_DEVICE static inline uint32_t bucket_and_sign(const Words& words, int half,
                                                     uint32_t buckets) {
  const uint64_t scaled = static_cast<uint64_t>(words.w[2 * half]) * buckets;
  return static_cast<uint32_t>(scaled >> 32) | (words.w[2 * half + 1] & 0x80000000u);
}

// Sign matrices: row r of a matrix with `columns` columns takes 128 columns from each call; a set
// bit is -1.
XFERPIPE_HOST_DEVICE static inline uint64_t sign_index(int64_t row, int64_t columns, int64_t block) {
  return static_cast<uint64_t>(row) * static_cast<uint64_t>((columns + 127) / 128) +
         static_cast<uint64_t>(block);
}

#if defined(__CUDA_ARCH__)
XFERPIPE_HOST_DEVICE static inline double exact_multiply(double a, double b) { return __dmul_rn(a, b); }
XFERPIPE_HOST_DEVICE static inline double exact_add(double a, double b) { return __dadd_rn(a, b); }
#else
XFERPIPE_HOST_DEVICE static inline double exact_multiply(double a, double b) { return a * b; }
XFERPIPE_HOST_DEVICE static inline double exact_add(double a, double b) { return a + b; }
#endif

XFERPIPE_HOST_DEVICE static inline double horner(const double* c, int count, double x) {
  double sum = c[0];
  for (int i = 1; i < count; ++i) sum = exact_add(exact_multiply(sum, x), c[i]);
  return sum;
}

// -log(u) for u in (0, 1/2], from additions, multiplications and one division alone, so that every
// device gives the same bits: log of the mantissa by its odd series in s = (m-1)/(m+1).
XFERPIPE_HOST_DEVICE static inline double minus_log(double u) {
  uint64_t bits;
  memcpy(&bits, &u, sizeof bits);
  int exponent = static_cast<int>(bits >> 52) - 1023;
  bits = (bits & 0x000FFFFFFFFFFFFFull) | 0x3FF0000000000000ull;
  double m;
  memcpy(&m, &bits, sizeof m);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    exponent += 1;
  }
  const double s = exact_add(m, -1.0) / exact_add(m, 1.0);
  const double series[8] = {1.0 / 15, 1.0 / 13, 1.0 / 11, 1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3, 1.0};
  const double log_m =
      exact_multiply(exact_multiply(2.0, s), horner(series, 8, exact_multiply(s, s)));
  return -exact_add(exact_multiply(static_cast<double>(exponent), 0.6931471805599453), log_m);
}

// Standard normal quantile of (word + 1/2) / 2^32: Wichura's PPND7, Applied Statistics 37 (1988).
XFERPIPE_HOST_DEVICE static inline float gaussian(uint32_t word) {
  const double u = exact_multiply(exact_add(static_cast<double>(word), 0.5), 1.0 / 4294967296.0);
  const double q = exact_add(u, -0.5);
  if (q <= 0.425 && q >= -0.425) {
    const double a[4] = {5.9109374720e+01, 1.5929113202e+02, 5.0434271938e+01, 3.3871327179e+00};
    const double b[4] = {6.7187563600e+01, 7.8757757664e+01, 1.7895169469e+01, 1.0};
    const double r = exact_add(0.180625, -exact_multiply(q, q));
    return static_cast<float>(exact_multiply(q, horner(a, 4, r)) / horner(b, 4, r));
  }
  const double r = sqrt(minus_log(q < 0.0 ? u : exact_add(1.0, -u)));
  double value;
  if (r <= 5.0) {
    const double c[4] = {1.7023821103e-01, 1.3067284816e+00, 2.7568153900e+00, 1.4234372777e+00};
    const double d[3] = {1.2021132975e-01, 7.3700164250e-01, 1.0};
    const double t = exact_add(r, -1.6);
    value = horner(c, 4, t) / horner(d, 3, t);
  } else {
    const double e[4] = {1.7337203997e-02, 4.2868294337e-01, 3.0812263860e+00, 6.6579051150e+00};
    const double f[3] = {1.2258202635e-02, 2.4197894225e-01, 1.0};
    const double t = exact_add(r, -5.0);
    value = horner(e, 4, t) / horner(f, 3, t);
  }
  return static_cast<float>(q < 0.0 ? -value : value);
}

}  // namespace xferpipe
