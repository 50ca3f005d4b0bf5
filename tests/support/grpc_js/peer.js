// The service of grpc_app.py and a client of it, by grpc-js. Messages are bytes.
//
//   node peer.js server         prints its port and serves until its input ends
//   node peer.js client PORT    prints one JSON object: what became of each case

const grpc = require("@grpc/grpc-js");

const TIMEOUT_MS = 20000;
const LARGE = 3_000_000;
const OPTIONS = {
  "grpc.max_receive_message_length": 16 << 20,
  "grpc.max_send_message_length": 16 << 20,
};

const asIs = (bytes) => bytes;
const method = (name, requestStream, responseStream) => ({
  path: `/test.Interop/${name}`,
  requestStream,
  responseStream,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
});
const SERVICE = {
  Unary: method("Unary", false, false),
  ServerStream: method("ServerStream", false, true),
  ClientStream: method("ClientStream", true, false),
  Chat: method("Chat", true, true),
  Fail: method("Fail", false, false),
  Sleep: method("Sleep", false, false),
};

function echoed(call, prefix) {
  const metadata = new grpc.Metadata();
  for (const key of Object.keys(call.metadata.getMap())) {
    if (key.startsWith(prefix)) call.metadata.get(key).forEach((one) => metadata.add(key, one));
  }
  return metadata;
}

const HANDLERS = {
  Unary(call, callback) {
    call.sendMetadata(echoed(call, "x-echo-initial"));
    callback(null, call.request, echoed(call, "x-echo-trailing"));
  },
  ServerStream(call) {
    for (const size of call.request.toString().split(",")) call.write(Buffer.alloc(+size, "x"));
    call.end();
  },
  ClientStream(call, callback) {
    let total = 0;
    call.on("data", (message) => (total += message.length));
    call.on("end", () => callback(null, Buffer.from(String(total))));
  },
  Chat(call) {
    call.on("data", (message) => call.write(message));
    call.on("end", () => call.end());
  },
  Fail(call, callback) {
    const [code, ...words] = call.request.toString().split(" ");
    const metadata = new grpc.Metadata();
    metadata.set("grpc-status-details-bin", Buffer.from([8, 5, 255]));
    callback({ code: +code, details: words.join(" "), metadata });
  },
  Sleep(call) {
    call.on("cancelled", () => {}); // answers never
  },
};

function serve() {
  const server = new grpc.Server(OPTIONS);
  server.addService(SERVICE, HANDLERS);
  const insecure = grpc.ServerCredentials.createInsecure();
  server.bindAsync("127.0.0.1:0", insecure, (error, port) => {
    if (error) throw error;
    console.log(port);
  });
  process.stdin.on("end", () => process.exit(0)).resume();
}

const soon = (ms = TIMEOUT_MS) => ({ deadline: Date.now() + ms });
const failed = (error) => ({
  code: error.code,
  details: error.details,
  rich: error.metadata.get("grpc-status-details-bin").map((one) => one.toString("hex")),
});

function unary(client, name, request, metadata = new grpc.Metadata(), options = soon()) {
  return new Promise((resolve) => {
    const seen = {};
    const call = client[name](request, metadata, options, (error, answer) => {
      Object.assign(seen, error ? failed(error) : { size: answer.length });
    });
    call.on("metadata", (initial) => (seen.initial = initial.get("x-echo-initial")));
    call.on("status", ({ metadata: trailing }) => {
      seen.trailing = trailing.get("x-echo-trailing-bin").map((one) => one.toString("hex"));
      setImmediate(() => resolve(seen));
    });
  });
}

function streamed(call, { afterFirst } = {}) {
  return new Promise((resolve) => {
    const sizes = [];
    call.on("data", (message) => {
      sizes.push(message.length);
      if (sizes.length === 1 && afterFirst) afterFirst();
    });
    call.on("error", () => {}); // the status says it as well
    call.on("status", ({ code }) => resolve({ sizes, code }));
  });
}

function summed(client, sizes) {
  return new Promise((resolve) => {
    const call = client.ClientStream(new grpc.Metadata(), soon(), (error, answer) =>
      resolve(error ? failed(error) : answer.toString()),
    );
    for (const size of sizes) call.write(Buffer.alloc(size));
    call.end();
  });
}

async function pingPong(client) {
  const sizes = [31415, 9, 2653, 58979];
  const call = client.Chat(soon());
  const done = streamed(call);
  let next = 1;
  call.on("data", () => (next < sizes.length ? call.write(Buffer.alloc(sizes[next++])) : call.end()));
  call.write(Buffer.alloc(sizes[0]));
  return done;
}

async function cancelled(client) {
  const call = client.Chat(soon());
  const done = streamed(call, { afterFirst: () => call.cancel() });
  call.write(Buffer.from("x"));
  return done;
}

async function ask(port) {
  const Client = grpc.makeGenericClientConstructor(
    { ...SERVICE, NoSuch: method("NoSuch", false, false) },
    "test.Interop",
  );
  const client = new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), OPTIONS);
  const metadata = new grpc.Metadata();
  metadata.set("x-echo-initial", "one");
  metadata.set("x-echo-trailing-bin", Buffer.from([0, 171, 255]));
  const empty = Buffer.alloc(0);
  const seen = {
    "empty unary": await unary(client, "Unary", empty),
    "large unary": await unary(client, "Unary", Buffer.alloc(LARGE)),
    "client streaming": await summed(client, [27182, 8, 1828, 45904]),
    "server streaming": await streamed(client.ServerStream(Buffer.from(`9,${LARGE}`), soon())),
    "ping pong": await pingPong(client),
    "cancel after first response": await cancelled(client),
    "timeout on sleeping server": await unary(client, "Sleep", empty, undefined, soon(300)),
    "custom metadata": await unary(client, "Unary", empty, metadata),
    "status and message": await unary(client, "Fail", Buffer.from("9 not now, é%")),
    "unimplemented method": await unary(client, "NoSuch", empty),
  };
  client.close();
  console.log(JSON.stringify(seen));
}

const [role, port] = process.argv.slice(2);
if (role === "server") serve();
else ask(port);
