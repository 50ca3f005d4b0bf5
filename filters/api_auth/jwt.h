/* JSON Web Tokens (RFC 7519) signed with HS256: signature first, then the claims. */
#ifndef JWT_H
#define JWT_H

#include "base64url.h"
#include "json.h"
#include "proxy_wasm.h"
#include "sha256.h"

enum { JWT_MAX_SIZE = 8192, JWT_MAX_KEYS = 8 };

/* `id` is what a token's `kid` has to be; an empty one fits every token. */
typedef struct { Text id, secret; } JwtKey;

/* What a token must be; an empty issuer or audience is not asked for. `leeway` in seconds. */
typedef struct {
  JwtKey keys[JWT_MAX_KEYS];
  u32 key_count;
  Text issuer, audience;
  u64 leeway;
} JwtRules;

/* Seconds of a NumericDate, whose fraction does not matter here. 0 where it is no plain number. */
static inline int jwt_date(JsonValue value, u64 *seconds) {
  Text fraction = value.text, whole = text_cut(&fraction, '.');
  u64 ignored;
  if (value.type != JSON_NUMBER || !parse_number(whole, seconds)) return 0;
  return whole.size == value.text.size || parse_number(fraction, &ignored);
}

/* Whether one of the keys has signed `signed_part`. */
static inline int jwt_is_signed(const JwtRules *rules, Text header, Text signed_part, Text signature) {
  JsonValue kid;
  Digest given;
  if (signature.size != SHA256_SIZE || !json_member(header, TEXT("kid"), &kid)) return 0;
  memcpy(given.bytes, signature.data, SHA256_SIZE);
  for (u32 i = 0; i < rules->key_count; i++) {
    const JwtKey *key = &rules->keys[i];
    if (key->id.size && !(kid.type == JSON_STRING && text_equal(kid.text, key->id))) continue;
    Digest wanted = hmac_sha256(key->secret, signed_part);
    if (digest_equal(&given, &wanted)) return 1;
  }
  return 0;
}

/* The reason why the header is refused, or an empty text. */
static inline Text jwt_check_header(Text header) {
  JsonValue alg, crit;
  if (!header.data || !json_member(header, TEXT("alg"), &alg) || !json_member(header, TEXT("crit"), &crit))
    return TEXT("the token's header is malformed");
  if (alg.type != JSON_STRING || !text_equal(alg.text, TEXT("HS256")))
    return TEXT("the token's algorithm is not HS256");
  if (crit.type != JSON_NONE) return TEXT("the token has critical extensions");
  return TEXT("");
}

static inline Text jwt_check_times(const JwtRules *rules, Text claims, u64 now) {
  JsonValue exp, nbf;
  u64 seconds;
  if (!json_member(claims, TEXT("exp"), &exp) || !json_member(claims, TEXT("nbf"), &nbf))
    return TEXT("the token's claims are malformed");
  if (exp.type != JSON_NONE && !jwt_date(exp, &seconds)) return TEXT("the token's exp is no date");
  if (exp.type == JSON_NONE) return TEXT("the token has no exp");
  if (now >= seconds + rules->leeway) return TEXT("the token has expired");
  if (nbf.type == JSON_NONE) return TEXT("");
  if (!jwt_date(nbf, &seconds)) return TEXT("the token's nbf is no date");
  return now + rules->leeway < seconds ? TEXT("the token is not valid yet") : TEXT("");
}

static inline Text jwt_check_parties(const JwtRules *rules, Text claims) {
  JsonValue iss, aud;
  json_member(claims, TEXT("iss"), &iss), json_member(claims, TEXT("aud"), &aud);
  if (rules->issuer.size && !(iss.type == JSON_STRING && text_equal(iss.text, rules->issuer)))
    return TEXT("the token's issuer is another");
  int fits = (aud.type == JSON_STRING && text_equal(aud.text, rules->audience)) ||
             (aud.type == JSON_ARRAY && json_array_holds(aud.text, rules->audience));
  return rules->audience.size && !fits ? TEXT("the token is for another audience") : TEXT("");
}

/* Check a token at `now`, Unix seconds. The reason why it is refused, or an empty text; then `subject` is its `sub`. */
static inline Text jwt_check(const JwtRules *rules, Text token, u64 now, Text *subject) {
  Text rest = token, header64 = text_cut(&rest, '.'), claims64 = text_cut(&rest, '.');
  if (token.size > JWT_MAX_SIZE) return TEXT("the token is too long");
  Text header = base64url_decode(header64), wrong = jwt_check_header(header);
  if (wrong.size) return wrong;
  Text signed_part = {token.data, header64.size + 1 + claims64.size};
  Text signature = base64url_decode(rest);
  if (signed_part.size >= token.size || !jwt_is_signed(rules, header, signed_part, signature))
    return TEXT("the token's signature does not fit");
  Text claims = base64url_decode(claims64);
  wrong = claims.data ? jwt_check_times(rules, claims, now) : TEXT("the token's claims are malformed");
  if (!wrong.size) wrong = jwt_check_parties(rules, claims);
  if (wrong.size) return wrong;
  JsonValue sub;
  json_member(claims, TEXT("sub"), &sub);
  *subject = sub.type == JSON_STRING ? sub.text : TEXT("");
  for (u32 i = 0; i < subject->size; i++) /* what is written with an escape has no place in a header */
    if ((u8)subject->data[i] < ' ' || subject->data[i] == '\\') return TEXT("the token's sub is not plain text");
  return TEXT("");
}

#endif
