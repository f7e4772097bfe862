/* The load: many websocket clients in one thread, driven by run.py over stdin and stdout.
 *
 *     load PORT TARGET CONNECTIONS AT_ONCE (silent|speaking)
 *
 * It opens the connections, at most AT_ONCE of them shaking hands at a time, and then prints
 * {"event": "open", ...}. Those who speak send one frame as soon as they are open: a pong that
 * nobody asked for, which every client may (RFC 6455 section 5.5.3). Commands, a line each:
 *
 *     mark         forget what was counted so far       -> {"event": "marked"}
 *     watch EVERY  report each EVERY messages from now  -> {"event": "progress", "messages": ...}
 *     stat         tell what was counted                -> {"event": "stat", ...}
 *
 * It ends with stdin. A message is to begin with the 20 digits of CLOCK_MONOTONIC in nanoseconds at
 * the moment it was published; the time until it was read here is its latency.
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
#include <time.h>
#include <unistd.h>

#define EVENTS 1024
#define INPUT_SIZE (1 << 18) /* no frame may be longer */
#define STAMP_SIZE 20
#define BUCKET_NS 10000 /* latencies are told to ten microseconds */
#define BUCKETS 200000  /* up to two seconds */

/* The pair of RFC 6455 section 1.3; a server that computes nothing does not know it. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

enum opcode { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

struct client {
    enum { CONNECTING, SHAKING_HANDS, OPEN, GONE } state;
    int fd;
    uint64_t messages;
    char *rest; /* the beginning of what has not all come yet */
    size_t rest_size;
};

static struct client *clients;
static int client_count, started, shaking, opened, failed, lost;
static int epoll;
static bool speaking;
static struct sockaddr_in server;
static char request[1024];
static char problem[200]; /* the first one */

static uint64_t messages, pings, watch_every, next_report;
static uint64_t latency[BUCKETS], latency_count, latency_max;

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

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

static void start(struct client *client) {
    int on = 1;
    started++;
    shaking++;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (client->fd < 0) {
        drop(client, strerror(errno));
        return;
    }
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = client};
    epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event);
    if (connect(client->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS)
        drop(client, strerror(errno));
}

static void connected(struct client *client) {
    ssize_t size = (ssize_t)strlen(request);
    if (send(client->fd, request, (size_t)size, MSG_NOSIGNAL) != size) {
        drop(client, strerror(errno));
        return;
    }
    client->state = SHAKING_HANDS;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    epoll_ctl(epoll, EPOLL_CTL_MOD, client->fd, &event);
}

/* Send a control frame, masked with zeroes, which leave the payload as it is. */
static void send_control(struct client *client, enum opcode opcode, const char *data, size_t size) {
    char frame[6 + 125] = {(char)(0x80 | opcode), (char)(0x80 | size)};
    memcpy(frame + 6, data, size);
    send(client->fd, frame, 6 + size, MSG_NOSIGNAL);
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
        if (speaking)
            send_control(client, PONG, "", 0);
    }
    return used;
}

static void count_message(struct client *client, const char *data, size_t size, uint64_t at) {
    messages++;
    client->messages++;
    uint64_t sent = 0;
    for (size_t i = 0; i < STAMP_SIZE; i++) {
        if (i == size || data[i] < '0' || data[i] > '9')
            return;
        sent = sent * 10 + (uint64_t)(data[i] - '0');
    }
    uint64_t spent = at > sent ? at - sent : 0;
    uint64_t bucket = spent / BUCKET_NS;
    latency[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    latency_count++;
    if (spent > latency_max)
        latency_max = spent;
}

/* Take the frame at the beginning and return its size, 0 while there is more to come. */
static size_t take_frame(struct client *client, const char *data, size_t size, uint64_t at) {
    if (size < 2)
        return 0;
    const uint8_t *head = (const uint8_t *)data;
    size_t head_size = 2, payload_size = head[1] & 0x7F;
    if (payload_size >= 126) {
        size_t length_size = payload_size == 126 ? 2 : 8;
        head_size += length_size;
        if (size < head_size)
            return 0;
        payload_size = 0;
        for (size_t i = 2; i < head_size; i++)
            payload_size = payload_size << 8 | head[i];
    }
    enum opcode opcode = head[0] & 0x0F;
    if ((head[0] & 0xF0) != 0x80 || head[1] & 0x80) {
        drop(client, "a fragment, a compressed or a masked frame: none is expected");
        return 0;
    }
    if (payload_size > (opcode < CLOSE ? INPUT_SIZE - head_size : 125)) {
        drop(client, "a frame is too long");
        return 0;
    }
    if (size < head_size + payload_size)
        return 0;
    const char *payload = data + head_size;
    if (opcode == TEXT || opcode == BINARY) {
        count_message(client, payload, payload_size, at);
    } else if (opcode == PING) {
        pings++;
        send_control(client, PONG, payload, payload_size);
    } else if (opcode == CLOSE) {
        send_control(client, CLOSE, payload, payload_size);
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

static double percentile_ms(double part) {
    uint64_t wanted = (uint64_t)(part * (double)latency_count), seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += latency[i]) > wanted)
            return (i + 0.5) * BUCKET_NS / 1e6;
    return 0;
}

static void mark(void) {
    messages = pings = watch_every = latency_count = latency_max = 0;
    memset(latency, 0, sizeof latency);
    for (int i = 0; i < client_count; i++)
        clients[i].messages = 0;
    printf("{\"event\": \"marked\"}\n");
}

static void tell(void) {
    uint64_t fewest = UINT64_MAX, most = 0;
    for (int i = 0; i < client_count; i++) {
        if (clients[i].messages < fewest)
            fewest = clients[i].messages;
        if (clients[i].messages > most)
            most = clients[i].messages;
    }
    printf("{\"event\": \"stat\", \"messages\": %lu, \"fewest\": %lu, \"most\": %lu, "
           "\"pings\": %lu, \"lost\": %d, \"stamped\": %lu, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
           "\"max_ms\": %.3f, \"problem\": \"%s\"}\n",
           messages, fewest, most, pings, lost, latency_count, percentile_ms(0.5),
           percentile_ms(0.99), (double)latency_max / 1e6, problem);
}

static void command(const char *line) {
    if (!strcmp(line, "mark"))
        mark();
    else if (!strcmp(line, "stat"))
        tell();
    else if (sscanf(line, "watch %lu", &watch_every) == 1)
        next_report = messages + watch_every;
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

static void prepare(char **arguments) {
    int port = atoi(arguments[1]);
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    snprintf(request, sizeof request,
             "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:%d\r\n"
             "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: " KEY "\r\n\r\n",
             arguments[2], port, port);
    speaking = !strcmp(arguments[5], "speaking");
    client_count = atoi(arguments[3]);
    clients = calloc((size_t)client_count, sizeof *clients);
    epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}; /* the driver */
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    setvbuf(stdout, NULL, _IOLBF, 0);
}

int main(int count, char **arguments) {
    if (count != 6) {
        fprintf(stderr, "usage: load PORT TARGET CONNECTIONS AT_ONCE (silent|speaking)\n");
        return 2;
    }
    prepare(arguments);
    int at_once = atoi(arguments[4]);
    uint64_t began = now();
    bool all_open = false;
    for (;;) {
        while (started < client_count && shaking < at_once)
            start(&clients[started]);
        if (!all_open && started == client_count && !shaking) {
            all_open = true;
            printf("{\"event\": \"open\", \"opened\": %d, \"failed\": %d, \"seconds\": %.3f, "
                   "\"problem\": \"%s\"}\n",
                   opened, failed, (double)(now() - began) / 1e9, problem);
        }
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            struct client *client = events[i].data.ptr;
            if (!client) {
                if (!listen_to_driver())
                    return 0;
            } else if (client->state == CONNECTING) {
                connected(client);
            } else {
                readable(client);
            }
        }
        report_progress();
    }
}
