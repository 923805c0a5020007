// The tests' own tiny frame: TEST(Name) { CHECK(…); } in a source file of one test program, which includes this once.
//
// A check that fails is printed and counted, and the test goes on; REQUIRE leaves the test. Run with names as arguments
// to run only those tests. A test that cannot run here says so with SKIP.
#ifndef EACOPY_TESTS_CHECK_H_
#define EACOPY_TESTS_CHECK_H_

#include <cstdio>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

namespace eacopy {
namespace test {

struct Test {
  const char* name;
  void (*run)();
};

inline std::vector<Test>& Tests() {
  static std::vector<Test> tests;
  return tests;
}

inline int& Failures() {
  static int failures = 0;
  return failures;
}

struct Registration {
  Registration(const char* name, void (*run)()) { Tests().push_back({name, run}); }
};

inline void Fail(const char* file, int line, const std::string& what) {
  ++Failures();
  std::fprintf(stderr, "%s:%d: failed: %s\n", file, line, what.c_str());
}

template <typename A, typename B>
void CheckEqual(const char* file, int line, const char* text, const A& a, const B& b) {
  if (a == b) return;
  std::ostringstream what;
  what << text << " (" << a << " and " << b << ")";
  Fail(file, line, what.str());
}

}  // namespace test
}  // namespace eacopy

#define TEST(name)                                                                \
  static void Test##name();                                                       \
  static const eacopy::test::Registration registration_##name(#name, Test##name); \
  static void Test##name()

#define CHECK(condition)                                                  \
  do {                                                                    \
    if (!(condition)) eacopy::test::Fail(__FILE__, __LINE__, #condition); \
  } while (false)

#define CHECK_EQUAL(a, b) eacopy::test::CheckEqual(__FILE__, __LINE__, #a " == " #b, (a), (b))

#define REQUIRE(condition)                                \
  do {                                                    \
    if (!(condition)) {                                   \
      eacopy::test::Fail(__FILE__, __LINE__, #condition); \
      return;                                             \
    }                                                     \
  } while (false)

#define SKIP(reason)                        \
  do {                                      \
    std::printf("  skipped: %s\n", reason); \
    return;                                 \
  } while (false)

int main(int argc, char** argv) {
  using eacopy::test::Failures;
  int failed_tests = 0;
  int ran = 0;
  for (const eacopy::test::Test& test : eacopy::test::Tests()) {
    bool wanted = argc < 2;
    for (int i = 1; i < argc; ++i) wanted = wanted || std::strcmp(argv[i], test.name) == 0;
    if (!wanted) continue;
    std::printf("%s\n", test.name);
    std::fflush(stdout);
    const int before = Failures();
    test.run();
    ++ran;
    if (Failures() != before) ++failed_tests;
  }
  std::printf("%d tests, %d failed\n", ran, failed_tests);
  return ran == 0 || failed_tests != 0 ? 1 : 0;
}

#endif  // EACOPY_TESTS_CHECK_H_
