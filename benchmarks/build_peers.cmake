# Read by CMake after project() of llama.cpp; see build_peers.py. The libraries get the flags of our own build; the
# programs need llama.cpp's `common`, which our own build leaves out.

include("${CMAKE_CURRENT_LIST_DIR}/build.cmake")
set(LLAMA_BUILD_COMMON ON)
