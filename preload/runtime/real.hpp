// libc's own functions, one pointer for each row of functions.def. Until start-up has found them each points to a road
// that works without it (see early.cpp), so that a hook never has to ask.
#pragma once
#include <dirent.h>
#include <netdb.h>
#include <poll.h>
#include <resolv.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#include "chaos/abi/functions.hpp"

namespace chaos {

struct real_table {
#define HOOK(symbol, kinds, fails, returns, parameters, ...) returns(*symbol) parameters;
#define HOOK_ABI HOOK
#include "chaos/abi/functions.def"
#undef HOOK
#undef HOOK_ABI
};

[[gnu::visibility("hidden")]] extern real_table real;  // hidden, constinit

void resolve_real_functions();  // init only: dlsym for every row
void resolve_one(abi::function_id f);  // a hook was reached before init

}  // namespace chaos
