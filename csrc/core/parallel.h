// The kernels borrow torch's thread pool through this pair of functions, set by the binding file,
// so that no kernel includes a torch header and no second pool competes for the cores.
#pragma once
#include <atomic>
#include <cstdint>

namespace xferpipe {

using RangeFunction = void (*)(int64_t begin, int64_t end, void* context);

struct ThreadPool {
  void (*run)(int64_t begin, int64_t end, int64_t grain, RangeFunction function, void* context);
  int64_t (*threads)();
};

ThreadPool& thread_pool();

// Calls body(worker, item) for every item once. Items are handed out one by one, since a shared
// machine slows single cores down; results must therefore not depend on who ran which item.
template <class Body>
void parallel_items(int64_t items, Body&& body) {
  struct Context {
    std::atomic<int64_t> next{0};
    int64_t items;
    Body* body;
  } context;
  context.items = items;
  context.body = &body;
  const auto work = [](int64_t begin, int64_t end, void* raw) {
    auto* c = static_cast<Context*>(raw);
    for (int64_t worker = begin; worker < end; ++worker) {
      for (int64_t i = c->next.fetch_add(1); i < c->items; i = c->next.fetch_add(1)) {
        (*c->body)(worker, i);
      }
    }
  };
  int64_t workers = thread_pool().threads();
  if (workers > items) workers = items;
  if (workers <= 1) {
    work(0, 1, &context);
  } else {
    thread_pool().run(0, workers, 1, work, &context);
  }
}

}  // namespace xferpipe
