# lintel_embed(TARGET FOLDER GLOB FUNCTION) compiles the files FOLDER/GLOB (FOLDER relative to the repository) into
# TARGET as
#
#   std::span<const lintel::EmbeddedFile> FUNCTION() noexcept;     // base/embedded.h; sorted by name
#
# FUNCTION is a qualified name ("lintel::forwarded::range_files") that the caller declares in a header of its own. The
# source is written into the build folder at build time, and again whenever a file changes, comes or goes. A file holds
# at most 65,000 octets, what compilers promise for one string literal.

if(CMAKE_SCRIPT_MODE_FILE)  # cmake -DOUTPUT=… -DFUNCTION=… -DFILES=a|b|c -P embed.cmake
  string(REPLACE "|" ";" FILES "${FILES}")
  string(REGEX MATCH "^(.*)::([A-Za-z_0-9]+)$" ignored "${FUNCTION}")
  set(space "${CMAKE_MATCH_1}")
  set(name "${CMAKE_MATCH_2}")
  set(code "// Written by cmake/embed.cmake.\n#include <array>\n#include <span>\n\n#include \"base/embedded.h\"\n\n")
  string(APPEND code "namespace ${space} {\nstd::span<const lintel::EmbeddedFile> ${name}() noexcept;\n")
  list(LENGTH FILES count)
  string(APPEND code "std::span<const lintel::EmbeddedFile> ${name}() noexcept {\n")
  string(APPEND code "  static constexpr std::array<lintel::EmbeddedFile, ${count}> files{{\n")
  foreach(file IN LISTS FILES)
    file(SIZE "${file}" size)
    if(size GREATER 65000)
      message(FATAL_ERROR "${file}: ${size} octets are too many to be compiled in")
    endif()
    file(READ "${file}" text)
    if(text MATCHES "[)]lintel\"")
      message(FATAL_ERROR "${file}: holds )lintel\", which ends the string literal it is compiled into")
    endif()
    get_filename_component(file_name "${file}" NAME)
    string(APPEND code "      {\"${file_name}\", R\"lintel(${text})lintel\"},\n")
  endforeach()
  string(APPEND code "  }};\n  return files;\n}\n}  // namespace ${space}\n")
  file(WRITE "${OUTPUT}" "${code}")
  return()
endif()

set(LINTEL_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})
get_filename_component(LINTEL_EMBED_ROOT ${CMAKE_CURRENT_LIST_DIR} DIRECTORY)

function(lintel_embed target folder glob function)
  file(GLOB files CONFIGURE_DEPENDS ${LINTEL_EMBED_ROOT}/${folder}/${glob})
  list(SORT files)
  list(JOIN files "|" joined)
  string(REGEX REPLACE "[^A-Za-z0-9]+" "_" name "${function}")
  set(output ${CMAKE_CURRENT_BINARY_DIR}/embedded/${name}.cc)
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DOUTPUT=${output} -DFUNCTION=${function} "-DFILES=${joined}" -P ${LINTEL_EMBED_SCRIPT}
    DEPENDS ${files} ${LINTEL_EMBED_SCRIPT}
    COMMENT "Embedding ${folder}/${glob}"
    VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()
