/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that never leaves user mode: general and vector registers, rounding mode. */
#include <fenv.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common.h"

static atomic_uint_fast64_t wanted;
static atomic_uint_fast64_t answered;
static atomic_bool broken;
static pthread_t thread;

/*
 * The numbers live in registers: 8 doubles and 8 integers that are stepped
 * together and compared all the time.
 */
static void *spin(void *arg)
{
    double real[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint64_t whole[8] = {1, 2, 3, 4, 5, 6, 7, 8};

    (void)arg;
    (void)fesetround(FE_UPWARD);
    for (;;) {
        uint64_t n = atomic_load(&wanted);

        for (int i = 0; i < 8; i++) {
            real[i] += 1;
            whole[i] += 1;
            if (real[i] > 1e9) {
                real[i] = i;
                whole[i] = (uint64_t)i;
            }
        }
        for (int i = 0; i < 8; i++)
            if (real[i] != (double)whole[i])
                atomic_store(&broken, true);
        if (fegetround() != FE_UPWARD)
            atomic_store(&broken, true);
        atomic_store(&answered, n);
    }
    return NULL;
}

static int setup(void)
{
    int r = pthread_create(&thread, NULL, spin, NULL);

    (void)fesetround(FE_TOWARDZERO);
    return -r;
}

static int check(uint64_t n)
{
    EQUAL("number at the spinning thread", n - 1, atomic_load(&answered));
    atomic_store(&wanted, n);
    for (unsigned int ms = 0; ms < TIMEOUT_MS && atomic_load(&answered) != n; ms++)
        (void)sleep_ms(1);
    EQUAL("answer of the spinning thread", n, atomic_load(&answered));
    EQUAL("registers broken", false, atomic_load(&broken));
    EQUAL("rounding mode", FE_TOWARDZERO, fegetround());
    return 0;
}

const struct workload_kind kind_registers = {
    .name = "registers",
    .description = "a spinning thread with numbers in registers, rounding modes",
    .setup = setup,
    .check = check,
};
