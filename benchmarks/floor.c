/* The floor: the least that a server can do for a message, to compare wsredis with.
 *
 * One thread, one epoll set, one Redis subscription. It answers the opening handshake, and for each
 * message it builds one frame and calls send() once for each socket of the channel. It has no
 * timers, no close handshake, no send buffer, no limits and no checks: whatever a real server does comes
 * on top. A client names its channels in the path, with commas between them.
 *
 *     floor PORT REDIS_PORT (send|join) [PROCESSES]
 *
 * With `join` it puts the messages of one channel that one read of Redis has brought into one
 * send(). Of several processes the kernel gives each its share of the clients.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "accept.h"

#define EVENTS 512
#define MAX_FD 65536
#define KEY_HEADER "\r\nSec-WebSocket-Key: "
#define TABLE 16384
#define WAIT_MS 5000

/* The sockets of a channel, without gaps; each knows its place. */
struct channel {
    char *name;
    struct member **members;
    int *fds;
    int count, room;
    struct channel *next; /* in the table */
};

struct member {
    struct channel *channel;
    int place;
    struct member *next; /* of the same socket */
};

static struct channel *table[TABLE];
static struct member *memberships[MAX_FD]; /* NULL: no websocket yet */
static int redis;
static bool join;
static long short_sends; /* what a real server would have to keep in a send buffer */

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* -- channels --------------------------------------------------------------------------------- */

/* Find a channel; one that is not there yet is made and subscribed to if `make` says so. */
static struct channel *channel_named(const char *name, size_t size, bool make) {
    uint32_t hash = 5381;
    for (size_t i = 0; i < size; i++)
        hash = hash * 33 + (uint8_t)name[i];
    struct channel **slot = &table[hash % TABLE], *found;
    for (found = *slot; found; found = found->next)
        if (strlen(found->name) == size && !memcmp(found->name, name, size))
            return found;
    if (!make)
        return NULL;
    found = calloc(1, sizeof *found);
    found->name = strndup(name, size);
    found->next = *slot;
    *slot = found;
    dprintf(redis, "*2\r\n$9\r\nSUBSCRIBE\r\n$%zu\r\n%s\r\n", size, found->name);
    return found;
}

static void enter(int fd, struct channel *channel) {
    if (channel->count == channel->room) {
        channel->room = channel->room ? channel->room * 2 : 4;
        channel->fds = realloc(channel->fds, sizeof *channel->fds * (size_t)channel->room);
        channel->members =
            realloc(channel->members, sizeof *channel->members * (size_t)channel->room);
    }
    struct member *member = malloc(sizeof *member);
    *member = (struct member){channel, channel->count, memberships[fd]};
    memberships[fd] = member;
    channel->fds[channel->count] = fd;
    channel->members[channel->count++] = member;
}

static void forget(int fd) {
    struct member *member;
    while ((member = memberships[fd])) {
        struct channel *channel = member->channel;
        int last = --channel->count;
        channel->fds[member->place] = channel->fds[last];
        channel->members[member->place] = channel->members[last];
        channel->members[member->place]->place = member->place;
        memberships[fd] = member->next;
        free(member);
    }
    close(fd);
}

/* -- clients ---------------------------------------------------------------------------------- */

static void send_all(int fd, const char *data, size_t size) {
    ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
    while (sent != (ssize_t)size) {
        short_sends++;
        if (sent > 0) {
            data += sent;
            size -= (size_t)sent;
        }
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        if ((sent < 0 && errno != EAGAIN) || poll(&room, 1, WAIT_MS) < 1)
            return;
        sent = send(fd, data, size, MSG_NOSIGNAL);
    }
}

/* Answer a request that has come at once, as on the loopback address it does. */
static void answer(int fd, const char *request) {
    const char *key = strcasestr(request, KEY_HEADER), *path = strchr(request, '/');
    if (!key || !path || strlen(key) < strlen(KEY_HEADER) + KEY_SIZE) {
        const char *plain = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        send_all(fd, plain, strlen(plain));
        return;
    }
    char accept[29], text[256];
    accept_key(key + strlen(KEY_HEADER), accept);
    int size = snprintf(text, sizeof text,
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                        accept);
    send_all(fd, text, (size_t)size);
    do {
        path++;
        size_t length = strcspn(path, ",? ");
        enter(fd, channel_named(path, length, true));
        path += length;
    } while (*path == ',');
}

static void client_readable(int fd) {
    static char input[65536];
    ssize_t size = recv(fd, input, sizeof input - 1, 0);
    if (size < 0 && errno == EAGAIN)
        return;
    if (size <= 0) {
        forget(fd);
    } else if (!memberships[fd]) {
        input[size] = '\0';
        answer(fd, input);
    } else if (input[0] == (char)0x89) { /* a ping; whatever else a websocket says is thrown away */
        send_all(fd, "\x8a\0", 2);
    }
}

static void watch(int epoll, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
        die("epoll_ctl");
}

static void accept_all(int epoll, int listener) {
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MAX_FD) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(epoll, fd);
    }
}

/* -- messages --------------------------------------------------------------------------------- */

/* The frames that wait to be sent, all for one channel. */
static char frames[1 << 20];
static size_t framed;
static struct channel *target;

static void flush_frames(void) {
    for (int i = 0; framed && i < target->count; i++)
        send_all(target->fds[i], frames, framed);
    framed = 0;
}

static void broadcast(struct channel *channel, const char *payload, size_t size) {
    if (target != channel || !join || framed + size + 10 > sizeof frames)
        flush_frames();
    target = channel;
    char *frame = frames + framed;
    size_t length_size = size < 126 ? 0 : size < 65536 ? 2 : 8;
    frame[0] = (char)0x81; /* text, in one frame */
    frame[1] = (char)(length_size == 0 ? size : length_size == 2 ? 126 : 127);
    for (size_t i = 0; i < length_size; i++)
        frame[2 + i] = (char)(size >> 8 * (length_size - 1 - i));
    memcpy(frame + 2 + length_size, payload, size);
    framed += 2 + length_size + size;
}

/* Go past one element of a reply, a number or a string; NULL: it has not all come yet. */
static char *element(char *at, char *end, char **text, size_t *size) {
    char *line_end = memmem(at, (size_t)(end - at), "\r\n", 2);
    if (!line_end)
        return NULL;
    *text = line_end + 2;
    *size = 0;
    if (*at != '$')
        return *text;
    *size = strtoul(at + 1, NULL, 10);
    if ((size_t)(end - *text) < *size + 2)
        return NULL;
    return *text + *size + 2;
}

/* Read what Redis has sent: arrays of three, the kind, the channel and the payload. */
static void redis_readable(void) {
    static char input[1 << 22];
    static size_t held;
    ssize_t size = recv(redis, input + held, sizeof input - held, 0);
    if (size <= 0) {
        fprintf(stderr, "floor: Redis has gone\n");
        exit(1);
    }
    char *end = input + held + size, *done = input, *at, *text;
    size_t length;
    while ((at = element(done, end, &text, &length))) {
        char *kind, *name, *payload;
        size_t kind_size, name_size, payload_size;
        if (!(at = element(at, end, &kind, &kind_size)) ||
            !(at = element(at, end, &name, &name_size)) ||
            !(at = element(at, end, &payload, &payload_size)))
            break;
        struct channel *channel = channel_named(name, name_size, false);
        if (channel && kind_size == 7 && !memcmp(kind, "message", 7))
            broadcast(channel, payload, payload_size);
        done = at;
    }
    flush_frames();
    held = (size_t)(end - done);
    memmove(input, done, held);
    if (short_sends) {
        fprintf(stderr, "floor: %ld sends fell short\n", short_sends);
        short_sends = 0;
    }
}

/* -- start ------------------------------------------------------------------------------------ */

static struct sockaddr_in loopback(const char *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int connect_to_redis(const char *port) {
    struct sockaddr_in address = loopback(port);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address))
        die("Redis");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static int listen_on(const char *port, bool shared) {
    struct sockaddr_in address = loopback(port);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (shared)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096))
        die("listen");
    return fd;
}

int main(int count, char **arguments) {
    if (count != 4 && count != 5) {
        fprintf(stderr, "usage: floor PORT REDIS_PORT (send|join) [PROCESSES]\n");
        return 2;
    }
    join = !strcmp(arguments[3], "join");
    int processes = count == 5 ? atoi(arguments[4]) : 1;
    for (int others = processes - 1; others > 0; others--) {
        pid_t child = fork();
        if (child < 0)
            die("fork");
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGTERM); /* ends with the first one */
            break;
        }
    }
    redis = connect_to_redis(arguments[2]);
    int listener = listen_on(arguments[1], processes > 1);
    int epoll = epoll_create1(0);
    watch(epoll, redis);
    watch(epoll, listener);
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == redis)
                redis_readable();
            else if (fd == listener)
                accept_all(epoll, fd);
            else
                client_readable(fd);
        }
    }
}
