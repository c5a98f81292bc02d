/* SPDX-License-Identifier: Apache-2.0 */
/* Does a process use CUDA at all? Answered from /proc, without the vendor's library. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* True if libcuda.so is mapped; false also when the process can't be read. */
bool process_maps_libcuda(pid_t pid);
