# chaos_embed(TARGET NAMESPACE NAME FILE [NAME FILE …]): each file becomes `extern const std::string_view NAME` of the namespace, declared in
# embedded.hpp, which TARGET can include. Run as a script (-P) it writes the two files.
if(CMAKE_SCRIPT_MODE_FILE)
  set(header "// Made from files by cmake/Embed.cmake.\n#pragma once\n#include <string_view>\n\nnamespace ${NAMESPACE} {\n")
  set(source "#include \"embedded.hpp\"\n\nnamespace ${NAMESPACE} {\n")
  string(REPLACE "," ";" pairs "${PAIRS}")
  while(pairs)
    list(POP_FRONT pairs name file)
    file(READ ${file} hex HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${hex}")
    string(APPEND header "extern const std::string_view ${name};\n")
    string(APPEND source "static constexpr char ${name}_bytes[] = {${bytes}};\nconst std::string_view ${name}{${name}_bytes, sizeof ${name}_bytes};\n")
  endwhile()
  file(WRITE ${OUT}/embedded.hpp "${header}}  // namespace ${NAMESPACE}\n")
  file(WRITE ${OUT}/embedded.cpp "${source}}  // namespace ${NAMESPACE}\n")
  return()
endif()

set(CHAOS_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})
function(chaos_embed target namespace)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/embedded)
  set(files ${ARGN})
  list(FILTER files INCLUDE REGEX "/")
  string(REPLACE ";" "," pairs "${ARGN}")
  add_custom_command(
    OUTPUT ${out}/embedded.hpp ${out}/embedded.cpp
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DNAMESPACE=${namespace} "-DPAIRS=${pairs}" -P ${CHAOS_EMBED_SCRIPT}
    DEPENDS ${files} ${CHAOS_EMBED_SCRIPT}
    VERBATIM)
  target_sources(${target} PRIVATE ${out}/embedded.cpp ${out}/embedded.hpp)
  target_include_directories(${target} PRIVATE ${out})
endfunction()
