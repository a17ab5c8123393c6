// What chaosd makes of the answers of a name server.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <vector>

#include "control/daemon/resolver.hpp"

namespace chaos::daemon {
namespace {

// 10.0.0.`last` for each, in that order.
std::vector<rules::ip_address> taken(const std::vector<int>& last, std::size_t most) {
  std::vector<sockaddr_in> addresses(last.size());
  std::vector<addrinfo> rows(last.size());
  for (std::size_t i = 0; i < last.size(); ++i) {
    addresses[i].sin_family = AF_INET;
    addresses[i].sin_addr.s_addr = htonl(0x0a000000u + static_cast<unsigned>(last[i]));
    rows[i].ai_family = AF_INET;
    rows[i].ai_addr = reinterpret_cast<sockaddr*>(&addresses[i]);
    rows[i].ai_next = i + 1 < last.size() ? &rows[i + 1] : nullptr;
  }
  return addresses_of(rows.empty() ? nullptr : rows.data(), most);
}

TEST(Resolver, ARotatedAnswerIsNoChangeAlsoWhenItIsCut) {
  std::vector<int> answer;
  for (int i = 1; i <= 40; ++i) answer.push_back(i);
  const auto first = taken(answer, 16);
  ASSERT_EQ(first.size(), 16u);
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_EQ(first[i][15], i + 1) << "the lowest ones";
  for (std::size_t turn = 1; turn < answer.size(); ++turn) {
    std::rotate(answer.begin(), answer.begin() + 1, answer.end());
    EXPECT_EQ(taken(answer, 16), first) << "after " << turn << " rotations";
  }
}

TEST(Resolver, AnAddressThatStandsTwiceIsOne) {
  EXPECT_EQ(taken({7, 7, 3, 7}, 16).size(), 2u);
  EXPECT_TRUE(taken({}, 16).empty());
}

// The rule itself says that it has no room for all: that takes more of them here.
TEST(Resolver, MoreAddressesAreKeptThanARuleHasRoomFor) { EXPECT_GT(resolver::address_max, std::size_t{abi::term_max}); }

}  // namespace
}  // namespace chaos::daemon
