// The usual fate of a call on a matched connection or file: one rule is asked, or none, and its trigger says no. That is settled here, in
// a few dozen instructions. Whatever else may be the matter goes the common road, and takes the operation that was
// counted along.
#pragma once
#include "preload/runtime/descriptors.hpp"
#include "preload/runtime/report.hpp"

namespace chaos::hooks {

struct quick_answer {
  enum class said : std::uint8_t { nothing, no, yes } answer = said::nothing;
  bool input, counted, file;
  std::uint32_t generation;      // of the rules that were asked
  descriptor* d;
  std::uint32_t slot;            // of its counters; abi::rule_max: no rule is about this function
  core::rule_state* state;
  std::uint64_t operation;
};

// `function`: its quick_bit. `row`: its classes. `flags`: of recv and send, where there are any.
quick_answer ask_quickly(std::uint64_t function, abi::class_set row, int fd, const int* flags);

// After a call that the rule said no to: what it moved. An input that found nothing was no operation.
void settle(const quick_answer& a, long result);

// The rules changed meanwhile: the operation was never asked for.
void take_back(const quick_answer& a);

}  // namespace chaos::hooks
