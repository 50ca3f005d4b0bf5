/* SHA-256 (FIPS 180-4) and HMAC (RFC 2104) over it, and comparing digests. */
#ifndef SHA256_H
#define SHA256_H

#include "proxy_wasm.h"

enum { SHA256_SIZE = 32, SHA256_BLOCK = 64 };
typedef struct { u8 bytes[SHA256_SIZE]; } Digest;
typedef struct { u32 state[8]; u64 length; u8 block[SHA256_BLOCK]; } Sha256;

static const u32 SHA256_CONSTANTS[64] = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98,
  0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
  0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8,
  0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
  0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819,
  0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
  0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
  0xc67178f2,
};

static inline u32 rotate_right(u32 x, u32 n) { return x >> n | x << (32 - n); }

static inline void sha256_start(Sha256 *hash) {
  *hash = (Sha256){{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19},
                   0, {0}};
}

/* The message schedule of one block. */
static inline void sha256_expand(const u8 *block, u32 w[64]) {
  for (u32 i = 0; i < 16; i++)
    w[i] = (u32)block[4 * i] << 24 | (u32)block[4 * i + 1] << 16 | (u32)block[4 * i + 2] << 8 | block[4 * i + 3];
  for (u32 i = 16; i < 64; i++) {
    u32 a = w[i - 15], b = w[i - 2];
    u32 s0 = rotate_right(a, 7) ^ rotate_right(a, 18) ^ a >> 3;
    u32 s1 = rotate_right(b, 17) ^ rotate_right(b, 19) ^ b >> 10;
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
}

static inline void sha256_block(u32 state[8], const u8 *block) {
  u32 w[64], s[8];
  sha256_expand(block, w);
  memcpy(s, state, sizeof s);
  for (u32 i = 0; i < 64; i++) {
    u32 s1 = rotate_right(s[4], 6) ^ rotate_right(s[4], 11) ^ rotate_right(s[4], 25);
    u32 choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
    u32 t1 = s[7] + s1 + choice + SHA256_CONSTANTS[i] + w[i];
    u32 s0 = rotate_right(s[0], 2) ^ rotate_right(s[0], 13) ^ rotate_right(s[0], 22);
    u32 majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
    s[7] = s[6], s[6] = s[5], s[5] = s[4], s[4] = s[3] + t1;
    s[3] = s[2], s[2] = s[1], s[1] = s[0], s[0] = t1 + s0 + majority;
  }
  for (u32 i = 0; i < 8; i++) state[i] += s[i];
}

static inline void sha256_add(Sha256 *hash, Text text) {
  for (u32 i = 0; i < text.size; i++) {
    hash->block[hash->length++ % SHA256_BLOCK] = (u8)text.data[i];
    if (hash->length % SHA256_BLOCK == 0) sha256_block(hash->state, hash->block);
  }
}

static inline Digest sha256_end(Sha256 *hash) {
  u64 bits = hash->length * 8;
  char length[8];
  for (u32 i = 0; i < 8; i++) length[i] = (char)(bits >> (56 - 8 * i));
  sha256_add(hash, (Text){"\x80", 1});
  while (hash->length % SHA256_BLOCK != SHA256_BLOCK - 8) sha256_add(hash, (Text){"\0", 1});
  sha256_add(hash, (Text){length, sizeof length});
  Digest digest;
  for (u32 i = 0; i < SHA256_SIZE; i++) digest.bytes[i] = (u8)(hash->state[i / 4] >> (24 - 8 * (i % 4)));
  return digest;
}

static inline Digest sha256(Text text) {
  Sha256 hash;
  sha256_start(&hash);
  sha256_add(&hash, text);
  return sha256_end(&hash);
}

static inline Text digest_text(const Digest *digest) { return (Text){(const char *)digest->bytes, SHA256_SIZE}; }

/* The time does not depend on where the first difference is. */
static inline int digest_equal(const Digest *a, const Digest *b) {
  u8 difference = 0;
  for (u32 i = 0; i < SHA256_SIZE; i++) difference |= a->bytes[i] ^ b->bytes[i];
  return difference == 0;
}

static inline Digest hmac_sha256(Text key, Text message) {
  Digest short_key, inner;
  char pad[SHA256_BLOCK] = {0};
  if (key.size > SHA256_BLOCK) short_key = sha256(key), key = digest_text(&short_key);
  memcpy(pad, key.data, key.size);
  Sha256 hash;
  for (u32 i = 0; i < SHA256_BLOCK; i++) pad[i] ^= 0x36;
  sha256_start(&hash);
  sha256_add(&hash, (Text){pad, sizeof pad});
  sha256_add(&hash, message);
  inner = sha256_end(&hash);
  for (u32 i = 0; i < SHA256_BLOCK; i++) pad[i] ^= 0x36 ^ 0x5c;
  sha256_start(&hash);
  sha256_add(&hash, (Text){pad, sizeof pad});
  sha256_add(&hash, digest_text(&inner));
  return sha256_end(&hash);
}

#endif
