// Gives every answer the headers that protect browsers, and takes away those that tell too much. See README.md.
export * from "@solo-io/proxy-runtime/proxy"; // the callbacks of the ABI
import {
  Context,
  FilterHeadersStatusValues,
  LogLevelValues,
  RootContext,
  log,
  registerRootContext,
  stream_context,
} from "@solo-io/proxy-runtime";
import { proxy_get_property } from "@solo-io/proxy-runtime/imports";
import { free } from "@solo-io/proxy-runtime/malloc";
import { BufferTypeValues, Reference, get_buffer_bytes, set_property } from "@solo-io/proxy-runtime/runtime";

const HSTS = "strict-transport-security";
const SECURE = "security_headers.secure"; // a property of a stream that came by HTTPS
const STREAMS_OF_ONE_OBJECT = 1000000;
const DEFAULTS = `
strict-transport-security: max-age=31536000; includeSubDomains
x-content-type-options: nosniff
x-frame-options: DENY
referrer-policy: strict-origin-when-cross-origin
content-security-policy: default-src 'self'; object-src 'none'; frame-ancestors 'none'
-x-powered-by
-x-aspnet-version
`;

// A header to set where the app has not, or to take away: then its value is empty.
class Rule {
  constructor(public name: string, public value: string) {}
}

class Plugin extends RootContext {
  rules: Rule[] = [];
  stream: Stream | null = null;
  streams: u32 = 0;

  // One object serves many streams, as it keeps nothing about them. The SDK never lets go of an object that it was
  // given for a stream, so one for each would fill the memory; and it counts up at each use, so one for ever would
  // end with an overflow.
  createContext(context_id: u32): Context {
    if (this.streams++ % STREAMS_OF_ONE_OBJECT == 0) this.stream = new Stream(context_id, this);
    return this.stream as Stream;
  }

  // The SDK's own reads the configuration to a place that it does not own, so this does without it.
  onConfigure(configuration_size: u32): bool {
    let text = "";
    if (configuration_size > 0) {
      text = String.UTF8.decode(get_buffer_bytes(BufferTypeValues.PluginConfiguration, 0, configuration_size));
    }
    if (text.trim() == "") text = DEFAULTS; // this compiler frees a string too early that a ?: has chosen
    this.rules = [];
    const lines = text.split("\n");
    for (let i = 0; i < lines.length; i++) {
      const line = lines[i].trim();
      if (line == "" || line.startsWith("#")) continue;
      const rule = parseRule(line);
      if (rule === null) {
        log(LogLevelValues.error, "line " + (i + 1).toString() + ": expected NAME: VALUE or -NAME, got '" + line + "'");
        return false;
      }
      this.rules.push(rule as Rule);
    }
    return true;
  }
}

function isToken(text: string): bool {
  if (text == "") return false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    const letter = (c >= 97 && c <= 122) || (c >= 65 && c <= 90); // a to z, A to Z
    const other = (c >= 48 && c <= 57) || c == 45 || c == 95; // 0 to 9, - and _
    if (!letter && !other) return false;
  }
  return true;
}

// `NAME: VALUE` or `-NAME`; null where it is neither.
function parseRule(line: string): Rule | null {
  if (line.startsWith("-")) {
    const name = line.substring(1).trim();
    return isToken(name) ? new Rule(name, "") : null;
  }
  const colon = line.indexOf(":");
  if (colon < 0) return null;
  const name = line.substring(0, colon).trim();
  const value = line.substring(colon + 1).trim();
  return isToken(name) && value != "" ? new Rule(name.toLowerCase(), value) : null;
}

const address = new Reference<usize>();
const size = new Reference<usize>();

// Whether a property of the stream has been set. The SDK's own ends the filter where it has not.
function isSet(path: string): bool {
  const bytes = String.UTF8.encode(path);
  if (proxy_get_property(changetype<usize>(bytes), bytes.byteLength, address.ptr(), size.ptr()) != 0) return false;
  free(address.data);
  return true;
}

class Stream extends Context {
  constructor(context_id: u32, root_context: RootContext) {
    super(context_id, root_context);
  }

  // The request cannot be read any more when the answer comes.
  onRequestHeaders(count: u32, end_of_stream: bool): FilterHeadersStatusValues {
    if (stream_context.headers.request.get("x-forwarded-proto") == "https") {
      set_property(SECURE, String.UTF8.encode("1"));
    }
    return FilterHeadersStatusValues.Continue;
  }

  onResponseHeaders(count: u32, end_of_stream: bool): FilterHeadersStatusValues {
    const headers = stream_context.headers.response;
    const secure = isSet(SECURE);
    const rules = changetype<Plugin>(this.root_context).rules;
    for (let i = 0; i < rules.length; i++) {
      const rule = rules[i];
      if (rule.value == "") headers.remove(rule.name);
      // RFC 6797, 7.2: not over an insecure transport.
      else if ((secure || rule.name != HSTS) && headers.get(rule.name) == "") headers.add(rule.name, rule.value);
    }
    return FilterHeadersStatusValues.Continue;
  }
}

registerRootContext((context_id: u32) => new Plugin(context_id), "security_headers");
