# One warning set for all of our own targets; `chaos_target(name)` applies it together with the sanitizers.
function(chaos_target name)
  target_compile_options(${name} PRIVATE -Wall -Wextra)
  if(CHAOS_SANITIZE)
    target_compile_options(${name} PRIVATE -fsanitize=${CHAOS_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
    target_link_options(${name} PRIVATE -fsanitize=${CHAOS_SANITIZE})
  endif()
endfunction()
