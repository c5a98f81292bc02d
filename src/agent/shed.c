/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/shed.h"

#include <link.h>
#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Code that was changed where it lies is not in the file as it is. */
static bool is_changed(const struct dl_phdr_info *object)
{
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &object->dlpi_phdr[i];
        const ElfW(Dyn) * entry;

        if (header->p_type != PT_DYNAMIC)
            continue;
        entry = (const ElfW(Dyn) *)(uintptr_t)(object->dlpi_addr + header->p_vaddr);
        for (; entry->d_tag != DT_NULL; entry++) {
            if (entry->d_tag == DT_TEXTREL ||
                (entry->d_tag == DT_FLAGS && entry->d_un.d_val & DF_TEXTREL))
                return true;
        }
    }
    return false;
}

static int shed_object(struct dl_phdr_info *object, size_t size, void *context)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    (void)size;
    (void)context;
    /* That of the kernel (vdso) has no name and no file. The program's own name is empty, too. */
    if (is_changed(object))
        return 0;
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &object->dlpi_phdr[i];
        uintptr_t begin = object->dlpi_addr + header->p_vaddr, end = begin + header->p_filesz;

        if (header->p_type != PT_LOAD || header->p_flags & PF_W)
            continue;
        begin = begin & ~(page - 1);
        (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
    }
    return 0;
}

void shed_memory(void)
{
    (void)dl_iterate_phdr(shed_object, NULL);
    (void)malloc_trim(0);
}
