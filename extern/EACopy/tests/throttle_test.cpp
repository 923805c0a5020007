// The limit of the rate: what it grants, when, and that a wait can be cancelled.

#include "throttle.h"

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "check.h"

using namespace eacopy;
using std::chrono::duration;
using std::chrono::steady_clock;

namespace {

double SecondsSince(steady_clock::time_point begin) { return duration<double>(steady_clock::now() - begin).count(); }

}  // namespace

TEST(GrantsPiecesOfATwentiethOfASecond) {
  Throttle throttle(2000000, nullptr);
  CHECK_EQUAL(throttle.Take(1000), 1000u);
  CHECK_EQUAL(throttle.Take(uint64_t{1} << 40), 100000u);
  Throttle slow(1, nullptr);
  CHECK_EQUAL(slow.Take(uint64_t{1} << 40), 4096u);
}

TEST(AllThreadsTogetherStayBelowTheRate) {
  constexpr uint64_t kRate = 1000000;
  constexpr uint64_t kEach = 100000;
  const auto begin = steady_clock::now();
  Throttle throttle(kRate, nullptr);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&throttle] {
      for (uint64_t left = kEach; left > 0;) left -= throttle.Take(left);
    });
  }
  for (std::thread& thread : threads) thread.join();
  // The last piece is granted when all before it are paid for.
  CHECK(SecondsSince(begin) >= 3.0 * kEach / kRate - 0.05);
}

TEST(WhatIsGivenBackNeedNotBeWaitedFor) {
  Throttle throttle(4096, nullptr);
  const auto begin = steady_clock::now();
  for (int i = 0; i < 100; ++i) throttle.GiveBack(throttle.Take(4096));  // would take 99 seconds
  CHECK(SecondsSince(begin) < 50);
}

TEST(CancellingEndsAWait) {
  std::atomic<bool> cancelled{false};
  Throttle throttle(1, &cancelled);
  CHECK_EQUAL(throttle.Take(4096), 4096u);  // the next one would be granted after an hour
  uint64_t granted = 1;
  std::thread waiting([&] { granted = throttle.Take(1); });
  cancelled = true;
  waiting.join();
  CHECK_EQUAL(granted, 0u);
}
