// Workspaces and threads for the tasks of a call.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace {

namespace ffi = xla::ffi;

constexpr int MAX_THREADS = 8;

// Memory that is reused between calls: equal requests in equal order get the same blocks.
class Workspace {
 public:
  void reset() { next_ = 0; }
  float* take(size_t count) {
    if (next_ == blocks_.size()) blocks_.push_back({});
    Block& block = blocks_[next_++];
    if (block.count < count) {
      size_t bytes = (count * sizeof(float) + 63) / 64 * 64;
      block.data.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
      if (!block.data) std::abort();
      block.count = count;
    }
    return block.data.get();
  }

 private:
  struct Block {
    std::unique_ptr<float, decltype(&std::free)> data{nullptr, &std::free};
    size_t count = 0;
  };
  std::vector<Block> blocks_;
  size_t next_ = 0;
};

Workspace& scratch() {  // the workspace of the current task, per thread
  static thread_local Workspace workspace;
  workspace.reset();
  return workspace;
}

// Spins until done(), and yields now and then to other threads of a busy machine.
template <class Done>
void wait_until(const Done& done) {
  for (int spins = 1; !done(); ++spins) {
    if (spins % 1024 == 0) std::this_thread::yield();
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
}

// Threads that share the tasks of consecutive runs, and spin in between, since waking a thread
// takes longer than many tasks. A run does not wait for threads that have not started.
class Team {
 public:
  explicit Team(ffi::ThreadPool& pool) : state_(std::make_shared<State>()) {
    int threads = std::min<int64_t>(pool.num_threads(), MAX_THREADS);
    for (int i = 1; i < threads; ++i) {
      pool.Schedule([state = state_] {
        wait_until([&] {
          state->work();
          return state->stop.load(std::memory_order_relaxed);
        });
      });
    }
  }
  ~Team() { state_->stop = true; }

  void run(int count, const std::function<void(int)>& task) {
    state_->task = &task;
    state_->pending = count;
    state_->ticket.store(++phase_ << 32 | uint32_t(count), std::memory_order_release);
    state_->work();
    wait_until([&] { return !state_->pending.load(std::memory_order_acquire); });
  }

 private:
  struct State {
    std::atomic<uint64_t> ticket{0};  // number of the run, and of tasks that are not taken
    std::atomic<int> pending{0};      // number of tasks that are not done
    std::atomic<bool> stop{false};
    const std::function<void(int)>* task = nullptr;

    void work() {
      uint64_t seen = ticket.load(std::memory_order_acquire);
      while (uint32_t(seen)) {
        if (ticket.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel)) {
          (*task)(int(uint32_t(seen)) - 1);
          pending.fetch_sub(1, std::memory_order_release);
          seen = ticket.load(std::memory_order_acquire);
        }
      }
    }
  };
  std::shared_ptr<State> state_;
  uint64_t phase_ = 0;
};

}  // namespace
