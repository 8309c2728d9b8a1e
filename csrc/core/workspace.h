// Scratch memory that a thread keeps between calls: the page faults of a fresh allocation cost more
// than packing a tile does.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace xferpipe {

enum class Scratch : int { kLeft, kRight, kTile, kSums, kRow, kCount };

class Workspace {
 public:
  // Contents are undefined; valid until this thread asks for the same slot again.
  template <class T>
  T* get(Scratch slot, int64_t count) {
    Slot& s = slots_[static_cast<int>(slot)];
    const size_t bytes = (static_cast<size_t>(count) * sizeof(T) + 4095) / 4096 * 4096 + 4096;
    // Shrinks too when four times too large, so that one big call does not hold memory for good.
    if (bytes > s.bytes || bytes * 4 < s.bytes) {
      std::free(s.data);
      s.data = std::aligned_alloc(4096, bytes);
      s.bytes = s.data ? bytes : 0;
      if (!s.data) throw std::bad_alloc();
    }
    return static_cast<T*>(s.data);
  }
  ~Workspace() {
    for (Slot& s : slots_) std::free(s.data);
  }

 private:
  struct Slot {
    void* data = nullptr;
    size_t bytes = 0;
  };
  Slot slots_[static_cast<int>(Scratch::kCount)];
};

Workspace& workspace();  // of the calling thread

}  // namespace xferpipe
