/* SPDX-License-Identifier: Apache-2.0 */
/* What a keeper and whoever started it tell each other, one packet each (SOCK_SEQPACKET). */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "basic/error.h"
#include "workload/keeper.h"

enum keeper_message_type {
    KEEPER_BEGUN,    /* from the keeper: the first process is there */
    KEEPER_FAILED,   /* from the keeper: it is not, and why */
    KEEPER_RELEASE,  /* to the keeper: stand alone; the root process */
    KEEPER_RELEASED, /* from the keeper: it does */
    KEEPER_INPUT,    /* to the keeper: bytes for the workload's terminal */
    KEEPER_SIZE,     /* to the keeper: struct winsize of the workload's terminal */
};

enum { KEEPER_TEXT_MAXIMUM = 4096 };

struct keeper_message {
    int type;
    int number; /* errno of a failure */
    pid_t root, main;
    char code[64];
    size_t length;
    char text[KEEPER_TEXT_MAXIMUM]; /* message of a failure, or input */
};

int keeper_send_begun(int socket, const struct keeper_begun *begun);
void keeper_send_failed(int socket, const struct error *error);
int keeper_send_release(int socket, pid_t root);
int keeper_send_released(int socket);
int keeper_send_size(int socket, const void *size, size_t length);
int keeper_send_input(int socket, const void *data, size_t length);

/* Waits for BEGUN; FAILED becomes the error that happened in the keeper. */
int keeper_receive_begun(int socket, struct keeper_begun *ret_begun, struct error *error);
int keeper_receive_released(int socket);

/* One message; 1, 0 when the other side is gone, or a negative errno. */
int keeper_receive(int socket, struct keeper_message *ret_message);
