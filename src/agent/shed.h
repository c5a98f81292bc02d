/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Gives back what only the start of a process needed: code and constants that were touched once, by
 * the linker and constructors of four dozen libraries, and free memory. What is needed again comes
 * from the page cache. */
void shed_memory(void);
