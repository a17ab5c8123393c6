// What is served, without sockets: a whole request goes in, its answer comes out. cpp-httplib parses and answers, routes.def says
// what there is. Any thread may ask. For the life of the process.
#pragma once
#include <string>

#include "front.hpp"
#include "reception.hpp"

namespace chaos::http {

class site {
 public:
  explicit site(const front_settings& how);
  ~site() = delete;
  site(const site&) = delete;

  answer serve(const std::string& request, const std::string& remote);

 private:
  class pages;
  pages* const pages_;
};

}  // namespace chaos::http
