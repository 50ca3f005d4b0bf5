// The header field Content-Digest of RFC 9530.

package main

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"hash"
	"strings"
)

// The algorithms that RFC 9530 calls active.
var algorithms = map[string]func() hash.Hash{"sha-256": sha256.New, "sha-512": sha512.New}

var (
	errMalformed = errors.New("the content-digest is malformed")
	errDiffers   = errors.New("the body is not what its content-digest says")
)

// A check compares what passes through its hash with what was announced.
type check struct {
	hash   hash.Hash
	wanted []byte
}

type checks []check

// parseDigests reads the field's value, a dictionary of byte sequences (RFC 8941, 3.2). Algorithms that are not known
// are left out.
func parseDigests(value string) (checks, error) {
	var found checks
	for member := range strings.SplitSeq(value, ",") {
		name, text, _ := strings.Cut(member, "=")
		algorithm, known := algorithms[strings.TrimSpace(name)]
		if !known {
			continue
		}
		text, _, _ = strings.Cut(text, ";") // parameters mean nothing here
		text = strings.TrimSpace(text)
		if len(text) < 2 || text[0] != ':' || text[len(text)-1] != ':' {
			return nil, errMalformed
		}
		wanted, err := base64.StdEncoding.DecodeString(text[1 : len(text)-1])
		if err != nil || len(wanted) != algorithm().Size() {
			return nil, errMalformed
		}
		found = append(found, check{algorithm(), wanted})
	}
	return found, nil
}

func (all checks) add(data []byte) {
	for _, one := range all {
		one.hash.Write(data)
	}
}

// verify says whether every digest fits what was added.
func (all checks) verify() error {
	for _, one := range all {
		if subtle.ConstantTimeCompare(one.hash.Sum(nil), one.wanted) != 1 {
			return errDiffers
		}
	}
	return nil
}
