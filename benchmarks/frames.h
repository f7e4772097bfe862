/* The frames of RFC 6455 section 5.2, as the load writes and reads them. */

#include <stdint.h>
#include <string.h>

#define MAX_SAID 4096

enum opcode { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

/* Build a frame, masked with zeroes, which leave the payload as it is; return its size. */
static size_t build_frame(char *frame, enum opcode opcode, const char *data, size_t size) {
    size_t head = size < 126 ? 6 : 8;
    memset(frame, 0, head);
    frame[0] = (char)(0x80 | opcode);
    frame[1] = (char)(0x80 | (size < 126 ? size : 126));
    if (size > 125) {
        frame[2] = (char)(size >> 8);
        frame[3] = (char)size;
    }
    memcpy(frame + head, data, size);
    return head + size;
}

/* Return the size of a frame's head without a mask, 0 while there is more to come. */
static size_t read_head(const uint8_t *head, size_t size, size_t *payload_size) {
    if (size < 2)
        return 0;
    size_t head_size = 2;
    *payload_size = head[1] & 0x7F;
    if (*payload_size >= 126) {
        head_size += *payload_size == 126 ? 2 : 8;
        if (size < head_size)
            return 0;
        *payload_size = 0;
        for (size_t i = 2; i < head_size; i++)
            *payload_size = *payload_size << 8 | head[i];
    }
    return head_size;
}
