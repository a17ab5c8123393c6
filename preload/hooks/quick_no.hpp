// The usual fate of a call on a matched connection: one rule is asked, and its trigger says no. That is settled here, in
// a few dozen instructions. Whatever else may be the matter goes the common road, and takes the operation that was
// counted along.
#pragma once
#include "preload/runtime/descriptors.hpp"
#include "preload/runtime/report.hpp"

namespace chaos::hooks {

struct quick_answer {
  enum class said : std::uint8_t { nothing, no, yes } answer = said::nothing;
  bool input, counted;
  std::uint32_t generation;      // of the rules that were asked
  descriptor* d;
  std::uint32_t slot;            // of its counters
  core::rule_state* state;
  std::uint64_t operation;
};

// `row`: classes of the function. `flags`: of recv and send, where there are any.
quick_answer ask_quickly(abi::function_id function, abi::class_set row, int fd, const int* flags);

// After a call that the rule said no to: what it moved. An input that found nothing was no operation.
void settle(const quick_answer& a, long result);

// The rules changed meanwhile: the operation was never asked for.
void take_back(const quick_answer& a);

}  // namespace chaos::hooks
