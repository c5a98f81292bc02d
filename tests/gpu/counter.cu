// SPDX-License-Identifier: Apache-2.0
/*
 * counter [PORT]
 *
 * The classic example: a counter in device memory that starts at 100. Each UDP
 * packet to 127.0.0.1:PORT (10000) adds one to it by a kernel and is answered
 * with the new value, so an answer proves that device memory, the loaded module
 * and the socket are all still there.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

__device__ int counter = 100;

__global__ void add_one()
{
    counter += 1;
}

static void must(cudaError_t result, const char *what)
{
    if (result != cudaSuccess) {
        fprintf(stderr, "counter: %s: %s\n", what, cudaGetErrorString(result));
        exit(1);
    }
}

static int listen_on(int port)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};

    address.sin_family = AF_INET;
    address.sin_port = htons((unsigned short)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (const sockaddr *)&address, sizeof(address)) < 0) {
        perror("counter: socket");
        exit(1);
    }
    return fd;
}

static int next_value()
{
    int value = 0;

    add_one<<<1, 1>>>();
    must(cudaGetLastError(), "launch");
    must(cudaMemcpyFromSymbol(&value, counter, sizeof(value)), "read counter");
    return value;
}

int main(int argc, char **argv)
{
    // The context first: whoever sees the socket may already ask for a checkpoint.
    must(cudaFree(NULL), "create context");
    int fd = listen_on(argc > 1 ? atoi(argv[1]) : 10000);

    for (;;) {
        char packet[64];
        sockaddr_in peer = {};
        socklen_t peer_size = sizeof(peer);

        if (recvfrom(fd, packet, sizeof(packet), 0, (sockaddr *)&peer, &peer_size) < 0)
            continue;
        int length = snprintf(packet, sizeof(packet), "%d\n", next_value());
        sendto(fd, packet, (size_t)length, 0, (const sockaddr *)&peer, peer_size);
    }
}
