// A CPU in place of a GPU: csrc/cuda/*.cu compile against this instead of the toolkit's header, and a
// launch runs the grid block by block, so that launchers, bindings and bodies are all exercised.
//
// A CUDA thread is a fibre (a stack of its own, switched by hand), or with -DXFERPIPE_SHIM_THREADS a
// thread, which ThreadSanitizer can watch. Shared memory starts as NaN, which shows reads of what
// nobody wrote. A barrier that not all threads reach ends the program with a message.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <mutex>
#include <vector>

#if defined(XFERPIPE_SHIM_THREADS)
#include <barrier>
#include <memory>
#include <thread>
#else
#include <setjmp.h>
#include <ucontext.h>
#endif

namespace xferpipe::cuda::shim {

constexpr int kSharedLimit = 160 * 1024;  // what an A100 gives a block

constexpr int kBlock = 256, kWarps = kBlock / 32;

struct Place {
  int thread = 0;
  int64_t block = 0;
};
inline thread_local Place here;

[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "shim: %s (block %lld)\n", what, static_cast<long long>(here.block));
  std::abort();
}

inline std::vector<float>& memory() {
  static std::vector<float> floats;
  return floats;
}
inline float* shared_memory() { return memory().data(); }
// 16-byte alignment as on the device; a size that is no multiple of 4 is an error of the launcher.
inline void clear_shared(int bytes) {
  memory().assign(static_cast<size_t>(bytes) / 4 + 4, std::numeric_limits<float>::quiet_NaN());
}

struct Votes {
  bool vote[2][kBlock];
  int turn[kBlock] = {};
};
inline Votes votes;

#if defined(XFERPIPE_SHIM_THREADS)

struct Barriers {
  std::barrier<> block{kBlock};
  std::vector<std::unique_ptr<std::barrier<>>> warps;
  Barriers() {
    for (int w = 0; w < kWarps; ++w) warps.push_back(std::make_unique<std::barrier<>>(32));
  }
};
inline Barriers* barriers = nullptr;

inline void wait_block() { barriers->block.arrive_and_wait(); }
inline void wait_warp() { barriers->warps[here.thread / 32]->arrive_and_wait(); }

inline void run(int64_t blocks, int bytes, const std::function<void()>& body) {
  for (int64_t block = 0; block < blocks; ++block) {
    clear_shared(bytes);
    Barriers own;
    barriers = &own;
    std::vector<std::thread> threads;
    for (int t = 0; t < kBlock; ++t) {
      threads.emplace_back([&, t] {
        here = {t, block};
        body();
        own.block.arrive_and_drop();  // a thread that has ended counts as arrived
        own.warps[t / 32]->arrive_and_drop();
      });
    }
    for (auto& thread : threads) thread.join();
  }
}

#else

enum class State { kRunnable, kBlock, kWarp, kDone };

struct Fibre {
  ucontext_t context;
  jmp_buf at;
  bool begun = false;
  State state = State::kRunnable;
  std::vector<char> stack = std::vector<char>(128 << 10);
};
struct Scheduler {
  std::vector<Fibre> fibres = std::vector<Fibre>(kBlock);
  ucontext_t main;
  jmp_buf at;
  const std::function<void()>* body = nullptr;
};
inline Scheduler scheduler;

inline void stop(State state) {
  Fibre& own = scheduler.fibres[here.thread];
  own.state = state;
  if (_setjmp(own.at) == 0) _longjmp(scheduler.at, 1);
}
inline void wait_block() { stop(State::kBlock); }
inline void wait_warp() { stop(State::kWarp); }
inline void begin() {
  (*scheduler.body)();
  stop(State::kDone);
}

// Runs one thread until it waits or ends.
inline void step(int thread) {
  Fibre& own = scheduler.fibres[thread];
  here.thread = thread;
  if (_setjmp(scheduler.at)) return;
  if (own.begun) _longjmp(own.at, 1);
  own.begun = true;
  getcontext(&own.context);
  own.context.uc_stack.ss_sp = own.stack.data();
  own.context.uc_stack.ss_size = own.stack.size();
  own.context.uc_link = nullptr;
  makecontext(&own.context, begin, 0);
  swapcontext(&scheduler.main, &own.context);
}

inline void run_block() {
  auto& fibres = scheduler.fibres;
  for (Fibre& fibre : fibres) {
    fibre.begun = false;
    fibre.state = State::kRunnable;
  }
  for (;;) {
    for (int t = 0; t < kBlock; ++t) {
      if (fibres[t].state == State::kRunnable) step(t);
    }
    bool moved = false, waiting = false;
    for (int w = 0; w < kWarps; ++w) {
      int at_warp = 0, ended = 0;
      for (int t = 32 * w; t < 32 * w + 32; ++t) {
        at_warp += fibres[t].state == State::kWarp;
        ended += fibres[t].state == State::kDone;
      }
      if (at_warp && at_warp + ended == 32) {
        if (ended) fail("a warp barrier with threads that have ended");
        for (int t = 32 * w; t < 32 * w + 32; ++t) fibres[t].state = State::kRunnable;
        moved = true;
      }
    }
    if (moved) continue;
    for (const Fibre& fibre : fibres) waiting |= fibre.state != State::kDone;
    if (!waiting) return;
    for (Fibre& fibre : fibres) {
      if (fibre.state == State::kWarp) fail("threads wait at different barriers");
      if (fibre.state == State::kBlock) fibre.state = State::kRunnable;
    }
  }
}

inline void run(int64_t blocks, int bytes, const std::function<void()>& body) {
  static std::mutex one;  // the process has one shim
  const std::lock_guard<std::mutex> lock(one);
  scheduler.body = &body;
  for (here.block = 0; here.block < blocks; ++here.block) {
    clear_shared(bytes);
    run_block();
  }
}

#endif

}  // namespace xferpipe::cuda::shim

namespace xferpipe::cuda {

struct DeviceContext {
  int64_t width;

  int thread() const { return shim::here.thread; }
  int64_t block_x() const { return shim::here.block % width; }
  int64_t block_y() const { return shim::here.block / width; }
  void sync() const { shim::wait_block(); }
  void warp_sync() const { shim::wait_warp(); }
  // A vote of the block, in two sets in turn: a thread may be one vote ahead of the others.
  bool any(bool vote) const {
    const int own = thread();
    const int turn = shim::votes.turn[own] ^= 1;
    shim::votes.vote[turn][own] = vote;
    shim::wait_block();
    bool found = false;
    for (int other = 0; other < shim::kBlock; ++other) found |= shim::votes.vote[turn][other];
    return found;
  }
  int add_shared(int* into, int value) const { return add_to(into, value); }
  void add(int64_t* into, int64_t value) const { add_to(into, value); }
  void largest(int* into, int value) const {
    static std::mutex guard;
    const std::lock_guard<std::mutex> lock(guard);
    *into = value > *into ? value : *into;
  }

 private:
  template <class T>
  T add_to(T* into, T value) const {
    static std::mutex guard;
    const std::lock_guard<std::mutex> lock(guard);
    const T before = *into;
    *into += value;
    return before;
  }
};

}  // namespace xferpipe::cuda
