# Sanitizers are chosen by preset (see CMakePresets.json) and applied per target by chaos_target(): libchaos.so itself
# is never instrumented, because it is loaded into programs that have no sanitizer runtime. Its pure parts are built
# into the unit tests, where they are instrumented like everything else.
if(CHAOS_SANITIZE AND NOT CHAOS_SANITIZE MATCHES "^(address|undefined|thread|leak)(,(address|undefined|leak))*$")
  message(FATAL_ERROR "CHAOS_SANITIZE=${CHAOS_SANITIZE}: expected a comma separated list of address, undefined, leak, or thread")
endif()
if(CHAOS_FUZZ AND NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR "CHAOS_FUZZ=ON needs clang, this is ${CMAKE_CXX_COMPILER_ID}: use the preset fuzz, or tools/fuzz")
endif()
