// Checks the bodies of requests against their Content-Digest (RFC 9530). See README.md.

package main

import (
	"fmt"
	"strings"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() {
	proxywasm.SetPluginContext(func(uint32) types.PluginContext { return &plugin{} })
}

// A plugin is one configuration of the filter.
type plugin struct {
	types.DefaultPluginContext
	required map[string]bool // methods
}

func (p *plugin) OnPluginStart(size int) types.OnPluginStartStatus {
	var configuration []byte
	if size > 0 { // the SDK takes an empty configuration for an error
		var err error
		if configuration, err = proxywasm.GetPluginConfiguration(); err != nil {
			proxywasm.LogErrorf("cannot read the configuration: %v", err)
			return types.OnPluginStartStatusFailed
		}
	}
	required, err := parseConfiguration(string(configuration))
	if err != nil {
		proxywasm.LogError(err.Error())
		return types.OnPluginStartStatusFailed
	}
	p.required = required
	return types.OnPluginStartStatusOK
}

// parseConfiguration reads lines of the form `require METHOD`; blank ones and those that begin with # do not count.
func parseConfiguration(text string) (map[string]bool, error) {
	required := map[string]bool{}
	for index, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		words := strings.Fields(line)
		if len(words) != 2 || words[0] != "require" {
			return nil, fmt.Errorf("line %d: expected: require METHOD, got '%s'", index+1, line)
		}
		required[words[1]] = true
	}
	return required, nil
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext {
	return &stream{plugin: p}
}

// A stream is one request.
type stream struct {
	types.DefaultHttpContext
	plugin *plugin
	checks checks
	hashed int // bytes of the body that the checks have seen
}

func (s *stream) OnHttpRequestHeaders(_ int, endOfStream bool) types.Action {
	headers, err := proxywasm.GetHttpRequestHeaders()
	if err != nil {
		return refuse(fmt.Sprintf("the headers cannot be read: %v", err))
	}
	var method string
	var digests []string
	for _, header := range headers {
		switch header[0] {
		case ":method":
			method = header[1]
		case "content-digest":
			digests = append(digests, header[1])
		}
	}
	if s.checks, err = parseDigests(strings.Join(digests, ",")); err != nil {
		return refuse(err.Error())
	}
	if len(s.checks) == 0 && s.plugin.required[method] {
		return refuse("a content-digest is required")
	}
	if endOfStream {
		return s.finish()
	}
	return types.ActionContinue
}

// The body is held back until it is known to be right.
func (s *stream) OnHttpRequestBody(size int, endOfStream bool) types.Action {
	if len(s.checks) == 0 {
		return types.ActionContinue
	}
	// The buffer shows all that is held back; what was seen before does not have to be read again.
	if size > s.hashed {
		data, err := proxywasm.GetHttpRequestBody(s.hashed, size-s.hashed)
		if err != nil {
			return refuse(fmt.Sprintf("the body cannot be read: %v", err))
		}
		s.checks.add(data)
		s.hashed = size
	}
	if !endOfStream {
		return types.ActionPause
	}
	return s.finish()
}

// With trailers there is no body callback that says that it was the last one.
func (s *stream) OnHttpRequestTrailers(int) types.Action {
	return s.finish()
}

func (s *stream) finish() types.Action {
	if err := s.checks.verify(); err != nil {
		return refuse(err.Error())
	}
	return types.ActionContinue
}

func refuse(reason string) types.Action {
	headers := [][2]string{{"want-content-digest", "sha-256=10, sha-512=5"}}
	if err := proxywasm.SendHttpResponse(400, headers, []byte(reason+"\n"), -1); err != nil {
		proxywasm.LogErrorf("cannot answer: %v", err)
	}
	return types.ActionPause
}
