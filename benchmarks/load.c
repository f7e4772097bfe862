/* The load: many websocket clients in one thread, driven over stdin and stdout.
 *
 *     load PORT TARGETS AT_ONCE (websocket|socketio)
 *
 * TARGETS is a file with a line for each client: the request target and, after tabs, more header
 * lines. It opens the connections, at most AT_ONCE of them shaking hands at a time, and then prints
 * {"event": "open", ...}. Those of Socket.IO connect to its namespace and answer its pings.
 * Commands, a line each:
 *
 *     mark                       forget what was counted          -> {"event": "marked"}
 *     watch EVERY                report each EVERY messages       -> {"event": "progress", ...}
 *     stat                       tell what was counted            -> {"event": "stat", ...}
 *     say COUNT PER_SECOND SIZE  send text messages, each from the next client
 *                                                                 -> {"event": "said", ...}
 *     churn PER_SECOND           close and open again, each time the next client; 0 ends it
 *
 * It ends with stdin. What counts is a message with a stamp near its beginning, the 20 digits of
 * CLOCK_MONOTONIC in nanoseconds at the moment it was published; the time until it was read here is
 * its latency. A compressed message counts too, unread.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frames.h"
#include "targets.h"
#include "times.h"

#define EVENTS 1024
#define INPUT_SIZE (1 << 18) /* no frame may be longer */
#define STAMP_SIZE 20
#define STAMP_WITHIN 64 /* what comes before it is what a protocol above puts there */

/* The pair of RFC 6455 section 1.3; a server that computes nothing does not know it. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

struct client {
    enum { CONNECTING, SHAKING_HANDS, OPEN, GONE } state;
    int fd;
    uint64_t messages, newest; /* the stamp of the last one */
    uint64_t began;            /* to connect */
    struct target target;
    char *rest; /* the beginning of what has not all come yet */
    size_t rest_size;
};

static struct client *clients;
static int client_count, started, shaking, opened, failed, lost;
static int epoll;
static bool socketio;
static struct sockaddr_in server, source;
static char problem[200]; /* the first one */

static struct times latency, handshake;
static uint64_t messages, unordered, others, pings, watch_every, next_report;

static struct pace saying, churning;
static size_t say_size;

/* -- one client ------------------------------------------------------------------------------- */

static void drop(struct client *client, const char *why) {
    if (!problem[0])
        snprintf(problem, sizeof problem, "%s", why);
    if (client->state == OPEN) {
        lost++;
    } else {
        failed++;
        shaking--;
    }
    client->state = GONE;
    close(client->fd);
    free(client->rest);
    client->rest = NULL;
}

static void watch(struct client *client, int how, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = client};
    epoll_ctl(epoll, how, client->fd, &event);
}

static void start(struct client *client) {
    int on = 1;
    shaking++;
    client->state = CONNECTING;
    client->began = now();
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (client->fd < 0) {
        drop(client, strerror(errno));
        return;
    }
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    watch(client, EPOLL_CTL_ADD, EPOLLOUT);
    if (bind(client->fd, (struct sockaddr *)&source, sizeof source))
        drop(client, strerror(errno));
    else if (connect(client->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS)
        drop(client, strerror(errno));
}

static void connected(struct client *client) {
    char request[4096];
    int port = ntohs(server.sin_port);
    ssize_t size = snprintf(request, sizeof request,
                            "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                            "Origin: http://127.0.0.1:%d\r\n"
                            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n%s\r\n",
                            client->target.target, port, port, client->target.headers);
    if (send(client->fd, request, (size_t)size, MSG_NOSIGNAL) != size) {
        drop(client, strerror(errno));
        return;
    }
    client->state = SHAKING_HANDS;
    watch(client, EPOLL_CTL_MOD, EPOLLIN);
}

static void send_frame(struct client *client, enum opcode opcode, const char *data, size_t size) {
    char frame[8 + MAX_SAID];
    size_t whole = build_frame(frame, opcode, data, size);
    if (send(client->fd, frame, whole, MSG_NOSIGNAL) != (ssize_t)whole && !problem[0])
        snprintf(problem, sizeof problem, "a frame could not be sent");
}

/* Return the size of a whole answer to the handshake, 0 while there is more to come. */
static size_t take_answer(struct client *client, const char *data, size_t size) {
    const char *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t used = (size_t)(end - data) + 4;
    if (memcmp(data, "HTTP/1.1 101 ", 13)) {
        char why[100];
        snprintf(why, sizeof why, "refused: %.*s", (int)strcspn(data, "\r\"\\"), data);
        drop(client, why);
    } else if (!memmem(data, used, ACCEPT, strlen(ACCEPT))) {
        drop(client, "the accept key is wrong");
    } else {
        client->state = OPEN;
        shaking--;
        opened++;
        add_time(&handshake, now() - client->began);
        if (socketio)
            send_frame(client, TEXT, "40", 2); /* connect to the default namespace */
    }
    return used;
}

static void count_message(struct client *client, const char *data, size_t size, uint64_t at) {
    uint64_t sent = 0;
    size_t digits = 0;
    for (size_t i = 0; i < size && i < STAMP_WITHIN && digits < STAMP_SIZE; i++) {
        bool digit = data[i] >= '0' && data[i] <= '9';
        digits = digit ? digits + 1 : 0;
        sent = digit ? sent * 10 + (uint64_t)(data[i] - '0') : 0;
    }
    if (digits < STAMP_SIZE) {
        others++;
        if (socketio && size == 1 && data[0] == '2') /* its ping */
            send_frame(client, TEXT, "3", 1);
        return;
    }
    messages++;
    client->messages++;
    unordered += sent < client->newest;
    client->newest = sent;
    add_time(&latency, at > sent ? at - sent : 0);
}

/* Take the frame at the beginning and return its size, 0 while there is more to come. */
static size_t take_frame(struct client *client, const char *data, size_t size, uint64_t at) {
    size_t payload_size, head_size = read_head((const uint8_t *)data, size, &payload_size);
    if (!head_size)
        return 0;
    enum opcode opcode = data[0] & 0x0F;
    bool compressed = data[0] & 0x40;
    if ((data[0] & 0xB0) != 0x80 || data[1] & 0x80) {
        drop(client, "a fragment or a masked frame: none is expected");
        return 0;
    }
    if (payload_size > (opcode < CLOSE ? INPUT_SIZE - head_size : 125)) {
        drop(client, "a frame is too long");
        return 0;
    }
    if (size < head_size + payload_size)
        return 0;
    const char *payload = data + head_size;
    if (compressed) {
        messages++;
        client->messages++;
    } else if (opcode == TEXT || opcode == BINARY) {
        count_message(client, payload, payload_size, at);
    } else if (opcode == PING) {
        pings++;
        send_frame(client, PONG, payload, payload_size);
    } else if (opcode == CLOSE) {
        send_frame(client, CLOSE, payload, payload_size);
        drop(client, "the server has closed a connection");
    }
    return head_size + payload_size;
}

static void readable(struct client *client) {
    static char input[INPUT_SIZE];
    size_t size = client->rest_size, used = 0, taken;
    if (size)
        memcpy(input, client->rest, size);
    ssize_t got = recv(client->fd, input + size, sizeof input - size, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        drop(client, got < 0 ? strerror(errno) : "a connection ended without a close frame");
        return;
    }
    size += (size_t)got;
    uint64_t at = now();
    if (client->state == SHAKING_HANDS)
        used = take_answer(client, input, size);
    while (client->state == OPEN && (taken = take_frame(client, input + used, size - used, at)))
        used += taken;
    if (client->state == GONE)
        return;
    client->rest_size = size - used;
    if (client->rest_size) {
        client->rest = realloc(client->rest, client->rest_size);
        memcpy(client->rest, input + used, client->rest_size);
    }
}

/* -- the driver ------------------------------------------------------------------------------- */

static void mark(void) {
    messages = unordered = others = pings = watch_every = 0;
    memset(&latency, 0, sizeof latency);
    for (int i = 0; i < client_count; i++)
        clients[i].messages = 0;
    printf("{\"event\": \"marked\"}\n");
}

static void tell(void) {
    uint64_t fewest = UINT64_MAX, most = 0;
    for (int i = 0; i < client_count; i++) {
        fewest = clients[i].messages < fewest ? clients[i].messages : fewest;
        most = clients[i].messages > most ? clients[i].messages : most;
    }
    printf("{\"event\": \"stat\", \"messages\": %lu, \"fewest\": %lu, \"most\": %lu, "
           "\"unordered\": %lu, \"others\": %lu, \"pings\": %lu, \"lost\": %d, \"p50_ms\": %.3f, "
           "\"p99_ms\": %.3f, \"max_ms\": %.3f, \"problem\": \"%s\"}\n",
           messages, fewest, most, unordered, others, pings, lost, percentile_ms(&latency, 0.5),
           percentile_ms(&latency, 0.99), (double)latency.max / 1e6, problem);
}

static void tell_open(double seconds) {
    printf("{\"event\": \"open\", \"opened\": %d, \"failed\": %d, \"seconds\": %.3f, "
           "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"problem\": \"%s\"}\n",
           opened, failed, seconds, percentile_ms(&handshake, 0.5), percentile_ms(&handshake, 0.99),
           (double)handshake.max / 1e6, problem);
}

static void say(void) {
    uint64_t more = due(&saying);
    for (uint64_t i = saying.done - more; i < saying.done; i++) {
        char data[MAX_SAID];
        memset(data, 'x', sizeof data);
        snprintf(data, sizeof data, "%020lu", now());
        data[STAMP_SIZE] = ' ';
        struct client *client = &clients[i % (uint64_t)client_count];
        if (client->state == OPEN)
            send_frame(client, TEXT, data, say_size);
    }
    if (more && saying.done == saying.count)
        printf("{\"event\": \"said\", \"count\": %lu}\n", saying.count);
}

static void churn(void) {
    for (uint64_t more = due(&churning), i = churning.done - more; i < churning.done; i++) {
        struct client *client = &clients[i % (uint64_t)client_count];
        if (client->state != OPEN)
            continue;
        close(client->fd);
        free(client->rest);
        *client = (struct client){.newest = client->newest, .target = client->target};
        start(client);
    }
}

static void command(const char *line) {
    if (!strcmp(line, "mark"))
        mark();
    else if (!strcmp(line, "stat"))
        tell();
    else if (sscanf(line, "watch %lu", &watch_every) == 1)
        next_report = messages + watch_every;
    else if (sscanf(line, "say %lu %lf %zu", &saying.count, &saying.per_second, &say_size) == 3)
        saying.done = 0, saying.began = now();
    else if (sscanf(line, "churn %lf", &churning.per_second) == 1)
        churning.done = 0, churning.began = now(),
        churning.count = churning.per_second > 0 ? UINT64_MAX : 0;
    else
        fprintf(stderr, "load: no such command: %s\n", line);
}

/* Read commands; return false at the end of stdin. */
static bool listen_to_driver(void) {
    static char input[4096];
    static size_t held;
    ssize_t got = read(STDIN_FILENO, input + held, sizeof input - 1 - held);
    if (got <= 0)
        return false;
    held += (size_t)got;
    input[held] = '\0';
    char *line = input, *end;
    while ((end = strchr(line, '\n'))) {
        *end = '\0';
        command(line);
        line = end + 1;
    }
    held = (size_t)(input + held - line);
    memmove(input, line, held);
    return true;
}

static void report_progress(void) {
    if (watch_every && messages >= next_report) {
        printf("{\"event\": \"progress\", \"messages\": %lu}\n", messages);
        next_report += (messages - next_report) / watch_every * watch_every + watch_every;
    }
}

static void read_targets(FILE *file) {
    struct target target;
    while (file && read_target(file, &target)) {
        clients = realloc(clients, sizeof *clients * (size_t)(client_count + 1));
        clients[client_count++] = (struct client){.target = target};
    }
}

static void prepare(char **arguments) {
    int port = atoi(arguments[1]);
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    /* An address of its own for each process: ports that one has closed stay taken for a while. */
    source = (struct sockaddr_in){.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)getpid() % 65000);
    socketio = !strcmp(arguments[4], "socketio");
    read_targets(fopen(arguments[2], "r"));
    epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}; /* the driver */
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    setvbuf(stdout, NULL, _IOLBF, 0);
}

int main(int count, char **arguments) {
    if (count != 5) {
        fprintf(stderr, "usage: load PORT TARGETS AT_ONCE (websocket|socketio)\n");
        return 2;
    }
    prepare(arguments);
    int at_once = atoi(arguments[3]);
    uint64_t began = now();
    bool all_open = false;
    for (;;) {
        while (started < client_count && shaking < at_once)
            start(&clients[started++]);
        if (!all_open && started == client_count && !shaking) {
            all_open = true;
            tell_open((double)(now() - began) / 1e9);
        }
        bool busy = saying.done < saying.count || churning.done < churning.count;
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, busy ? 1 : -1);
        for (int i = 0; i < ready; i++) {
            struct client *client = events[i].data.ptr;
            if (!client) {
                if (!listen_to_driver())
                    return 0;
            } else if (client->state == CONNECTING) {
                connected(client);
            } else if (client->state != GONE) {
                readable(client);
            }
        }
        if (busy) {
            say();
            churn();
        }
        report_progress();
    }
}
