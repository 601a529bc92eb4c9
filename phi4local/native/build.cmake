# Read by CMake after every project() of llama-cpp-python; see build.py.

# The sources force this option on in the cache. A normal variable wins over the cache (policy CMP0126).
set(LLAMA_BUILD_COMMON OFF)

# Most of the time goes into 150 model architectures and other code that runs while a model loads or a graph is
# built; -O1 for it saves a fifth of the work (231 -> 179 CPU seconds, gcc 12). phi4-nano on two cores, best of
# three, -O3 / -O1, on a machine whose runs differ by 15 %: answer 412 / 420 tokens a second, prompt 10,450 /
# 9,530, tokenizing 2.15 / 2.17 million tokens a second, sampling 25 / 27 microseconds a token (1 % of a step).
function(phi4local_compile_loading_code_faster)
  if(MSVC OR NOT TARGET llama OR NOT CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
    return()
  endif()
  get_target_property(folder llama SOURCE_DIR)
  target_compile_options(llama PRIVATE -O1)
  foreach(name llama-batch llama-context llama-grammar llama-graph llama-impl llama-kv-cache
               llama-sampler llama-vocab unicode)
    set_property(SOURCE "${folder}/${name}.cpp" TARGET_DIRECTORY llama APPEND PROPERTY COMPILE_OPTIONS -O3)
  endforeach()
endfunction()

if(PROJECT_IS_TOP_LEVEL)
  cmake_language(DEFER CALL phi4local_compile_loading_code_faster)
endif()
