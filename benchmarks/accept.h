/* The accept key of a handshake (RFC 6455 section 1.3): SHA-1 (RFC 3174) in base 64 (RFC 4648). */

#include <stdint.h>
#include <string.h>

#define KEY_SIZE 24 /* a nonce of 16 bytes in base 64 (RFC 6455 section 4.1) */
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

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

/* Write the answer to a key. */
static void accept_key(const char *key, char out[29]) {
    char text[KEY_SIZE + sizeof GUID];
    memcpy(text, key, KEY_SIZE);
    memcpy(text + KEY_SIZE, GUID, sizeof GUID);
    uint8_t digest[20];
    sha1(text, sizeof text - 1, digest);
    base64(digest, out);
}
