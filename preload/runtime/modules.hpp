// Which module a return address lies in. Taking the loader's lock in a hook could deadlock (dlopen calling back), so
// the map is read from /proc/self/maps, at most once for each new address range, and kept.
#pragma once

namespace chaos {

// Path or base name of the module that holds `address` matches the glob.
bool module_matches(const void* address, const char* glob);

// Is this code of libc or of the dynamic loader? Their own allocations are never failed.
bool is_libc_or_loader(const void* address);

}  // namespace chaos
