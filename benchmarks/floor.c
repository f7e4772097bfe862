/* The floor: the least that a server can do for a message, to compare wsredis with.
 *
 * One thread, one epoll set, one Redis subscription. It answers the opening handshake, and for each
 * message it builds one frame and calls send() once for each socket. It has no pings, no close
 * handshake, no outbox, no limits and no checks: whatever a real server does comes on top.
 *
 *     floor PORT REDIS_PORT CHANNEL
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 512
#define MAX_FD 65536
#define KEY_SIZE 24 /* a nonce of 16 bytes in base 64 (RFC 6455 section 4.1) */
#define KEY_HEADER "\r\nSec-WebSocket-Key: "
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 section 1.3 */

/* The sockets that are open, without gaps, and where in that list a descriptor stands. */
static int members[MAX_FD];
static int member_count;
static int position[MAX_FD]; /* -1: no member */

static long short_sends; /* what a real server would have to keep in an outbox */

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* -- SHA-1 (RFC 3174) and base 64 (RFC 4648), for the accept key ------------------------------- */

static uint32_t rotate(uint32_t word, int bits) {
    return word << bits | word >> (32 - bits);
}

static void sha1_block(uint32_t state[5], const uint8_t block[64]) {
    uint32_t w[80];
    for (int t = 0; t < 16; t++)
        w[t] = (uint32_t)block[4 * t] << 24 | block[4 * t + 1] << 16 | block[4 * t + 2] << 8 |
               block[4 * t + 3];
    for (int t = 16; t < 80; t++)
        w[t] = rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);

    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int t = 0; t < 80; t++) {
        uint32_t mixed;
        if (t < 20)
            mixed = ((b & c) | (~b & d)) + 0x5A827999;
        else if (t < 40)
            mixed = (b ^ c ^ d) + 0x6ED9EBA1;
        else if (t < 60)
            mixed = ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDC;
        else
            mixed = (b ^ c ^ d) + 0xCA62C1D6;
        uint32_t next = rotate(a, 5) + mixed + e + w[t];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

/* Hash a text of 56 to 119 bytes, which needs two blocks. */
static void sha1(const char *text, size_t size, uint8_t digest[20]) {
    uint8_t blocks[128] = {0};
    memcpy(blocks, text, size);
    blocks[size] = 0x80;
    blocks[126] = (uint8_t)(size * 8 >> 8);
    blocks[127] = (uint8_t)(size * 8);

    uint32_t state[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    sha1_block(state, blocks);
    sha1_block(state, blocks + 64);
    for (int i = 0; i < 20; i++)
        digest[i] = (uint8_t)(state[i / 4] >> (24 - i % 4 * 8));
}

/* Write 20 bytes as 27 characters and one that fills up. */
static void base64(const uint8_t digest[20], char out[29]) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < 27; i++) {
        int bit = i * 6, byte = bit / 8;
        unsigned pair = (unsigned)digest[byte] << 8 | (byte < 19 ? digest[byte + 1] : 0);
        out[i] = digits[pair >> (10 - bit % 8) & 63];
    }
    out[27] = '=';
    out[28] = '\0';
}

/* -- clients ---------------------------------------------------------------------------------- */

static void forget(int fd) {
    if (position[fd] >= 0) {
        int last = members[--member_count];
        members[position[fd]] = last;
        position[last] = position[fd];
        position[fd] = -1;
    }
    close(fd);
}

/* Answer a handshake that has come in one piece, as on the loopback address it does. */
static void upgrade(int fd, const char *request) {
    const char *key = strcasestr(request, KEY_HEADER);
    if (!key || strlen(key) < strlen(KEY_HEADER) + KEY_SIZE) {
        forget(fd);
        return;
    }
    char text[KEY_SIZE + sizeof GUID];
    memcpy(text, key + strlen(KEY_HEADER), KEY_SIZE);
    memcpy(text + KEY_SIZE, GUID, sizeof GUID);
    uint8_t digest[20];
    sha1(text, sizeof text - 1, digest);
    char accept[29], answer[256];
    base64(digest, accept);
    int size = snprintf(answer, sizeof answer,
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                        accept);
    if (send(fd, answer, (size_t)size, MSG_NOSIGNAL) != size) {
        forget(fd);
        return;
    }
    position[fd] = member_count;
    members[member_count++] = fd;
}

static void client_readable(int fd) {
    static char input[65536];
    ssize_t size = recv(fd, input, sizeof input - 1, 0);
    if (size < 0 && errno == EAGAIN)
        return;
    if (size <= 0)
        forget(fd);
    else if (position[fd] < 0) { /* what members send is thrown away */
        input[size] = '\0';
        upgrade(fd, input);
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

static void broadcast(const char *payload, size_t size) {
    static char frame[65536 + 4];
    if (size > 65535) {
        fprintf(stderr, "floor: a message of %zu bytes is too long\n", size);
        return;
    }
    size_t head = size < 126 ? 2 : 4;
    frame[0] = (char)0x81; /* text, in one frame */
    frame[1] = (char)(size < 126 ? size : 126);
    if (head == 4) {
        frame[2] = (char)(size >> 8);
        frame[3] = (char)size;
    }
    memcpy(frame + head, payload, size);
    for (int i = 0; i < member_count; i++)
        if (send(members[i], frame, head + size, MSG_NOSIGNAL) != (ssize_t)(head + size))
            short_sends++;
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
static void redis_readable(int fd) {
    static char input[1 << 20];
    static size_t held;
    ssize_t size = recv(fd, input + held, sizeof input - held, 0);
    if (size <= 0) {
        fprintf(stderr, "floor: Redis has gone\n");
        exit(1);
    }
    char *end = input + held + size, *done = input, *at, *text;
    size_t length;
    while ((at = element(done, end, &text, &length))) {
        char *kind, *payload;
        size_t kind_size, payload_size;
        if (!(at = element(at, end, &kind, &kind_size)) ||
            !(at = element(at, end, &text, &length)) ||
            !(at = element(at, end, &payload, &payload_size)))
            break;
        if (kind_size == 7 && !memcmp(kind, "message", 7))
            broadcast(payload, payload_size);
        done = at;
    }
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

static int subscribe(const char *port, const char *channel) {
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address))
        die("Redis");
    dprintf(fd, "*2\r\n$9\r\nSUBSCRIBE\r\n$%zu\r\n%s\r\n", strlen(channel), channel);
    return fd;
}

static int listen_on(const char *port) {
    struct sockaddr_in address = loopback(port);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096))
        die("listen");
    return fd;
}

int main(int count, char **arguments) {
    if (count != 4) {
        fprintf(stderr, "usage: floor PORT REDIS_PORT CHANNEL\n");
        return 2;
    }
    memset(position, -1, sizeof position);
    int redis = subscribe(arguments[2], arguments[3]);
    int listener = listen_on(arguments[1]);
    int epoll = epoll_create1(0);
    watch(epoll, redis);
    watch(epoll, listener);
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == redis)
                redis_readable(fd);
            else if (fd == listener)
                accept_all(epoll, fd);
            else
                client_readable(fd);
        }
    }
}
