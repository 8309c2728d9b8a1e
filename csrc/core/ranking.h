// CMC, average precision and inverse negative penalty of one query from the ranks of its hits.
// Plain arithmetic, shared by the host and the device.
#pragma once
#include <cstdint>

#if defined(__CUDACC__)
#define XFERPIPE_HOST_DEVICE __host__ __device__
#else
#define XFERPIPE_HOST_DEVICE
#endif

namespace xferpipe {

// Fed with one hit at a time, nearest first; `rank` is 0-based among the items that are not junk.
struct RankedHits {
  int64_t hits = 0;
  int64_t first = 0;  // 1-based
  int64_t last = 0;   // 1-based
  double precision_sum = 0.0;

  XFERPIPE_HOST_DEVICE void add(int64_t rank, bool trapezoid) {
    const double here = static_cast<double>(hits + 1) / static_cast<double>(rank + 1);
    if (trapezoid) {
      const double before = rank == 0 ? 1.0 : static_cast<double>(hits) / static_cast<double>(rank);
      precision_sum += 0.5 * (before + here);
    } else {
      precision_sum += here;
    }
    if (hits == 0) first = rank + 1;
    last = rank + 1;
    ++hits;
  }
  XFERPIPE_HOST_DEVICE double average_precision() const {
    return precision_sum / static_cast<double>(hits);
  }
  XFERPIPE_HOST_DEVICE double inverse_negative_penalty() const {
    return static_cast<double>(hits) / static_cast<double>(last);
  }
};

}  // namespace xferpipe
