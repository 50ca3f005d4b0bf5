// An app of Dapr's SDK for JavaScript: a server that hears, and a client that uses every block.
// It prints one line of JSON and ends; DAPR_CLIENT and DAPR_SERVER are HTTP or GRPC.
const { CommunicationProtocolEnum, DaprClient, DaprServer, HttpMethod } = require("@dapr/dapr");

const { APP_PORT, DAPR_CLIENT, DAPR_SERVER, DAPR_HTTP_PORT, DAPR_GRPC_PORT } = process.env;
const isGrpc = DAPR_CLIENT === "GRPC";
const hearsGrpc = DAPR_SERVER === "GRPC";
const client = new DaprClient({
  daprHost: "127.0.0.1",
  daprPort: isGrpc ? DAPR_GRPC_PORT : DAPR_HTTP_PORT,
  communicationProtocol: isGrpc ? CommunicationProtocolEnum.GRPC : CommunicationProtocolEnum.HTTP,
  logger: { level: "error" },
});
const server = new DaprServer({
  serverHost: "127.0.0.1",
  serverPort: APP_PORT,
  communicationProtocol: hearsGrpc ? CommunicationProtocolEnum.GRPC : CommunicationProtocolEnum.HTTP,
  clientOptions: { daprHost: "127.0.0.1", daprPort: hearsGrpc ? DAPR_GRPC_PORT : DAPR_HTTP_PORT },
  logger: { level: "error" },
});

const heard = [];
const waiting = [];
function hear(kind, data) {
  heard.push([kind, data]);
  for (const check of waiting.splice(0)) check();
}
async function until(kind, count) {
  while (heard.filter((each) => each[0] === kind).length < count) {
    await new Promise((resolve) => waiting.push(resolve));
  }
  return heard.filter((each) => each[0] === kind).map((each) => each[1]);
}
async function failure(promise) {
  try {
    await promise;
    return "none";
  } catch (error) {
    return String(error.message);
  }
}

async function main() {
  const result = {};
  await server.pubsub.subscribe("bus", "plain", async (data) => hear("plain", data));
  await server.pubsub.subscribeWithOptions("bus", "routed", {
    route: { default: "/default", rules: [{ match: 'event.type == "special"', path: "/special" }] },
  });
  server.pubsub.subscribeToRoute("bus", "routed", "/default", async (data) => hear("default", data));
  server.pubsub.subscribeToRoute("bus", "routed", "/special", async (data) => hear("special", data));
  await server.binding.receive("tick", async (data) => hear("tick", data));
  await server.invoker.listen("echo", async (data) => ({ body: data.body, query: data.query }), {
    method: HttpMethod.POST,
  });
  await server.start();
  await client.start();

  // state
  const saved = await client.state.save("mem", [
    { key: "a", value: { n: 1 } },
    { key: "b", value: "text", metadata: { ttlInSeconds: "100" } },
  ]);
  result.saved = saved.error === undefined;
  result.state = [await client.state.get("mem", "a"), await client.state.get("mem", "b")];
  const bulk = await client.state.getBulk("mem", ["a", "none"]);
  result.bulk = bulk.map((each) => each.key).sort();
  await client.state.transaction("mem", [
    { operation: "upsert", request: { key: "c", value: "three" } },
    { operation: "delete", request: { key: "b" } },
  ]);
  result.after = [await client.state.get("mem", "c"), await client.state.get("mem", "b")];
  await client.state.delete("mem", "a");
  // secrets
  result.secret = await client.secret.get("vault", "key");
  result.secrets = await client.secret.getBulk("vault");
  // publishing
  await client.pubsub.publish("bus", "plain", { n: 1 });
  await client.pubsub.publish("bus", "plain", "text");
  const special = { metadata: { "cloudevent.type": "special" } };
  await client.pubsub.publish("bus", "routed", "1", special);
  await client.pubsub.publish("bus", "routed", "2");
  result.failed = (await client.pubsub.publishBulk("bus", "plain", ["x", "y"])).failedMessages.length;
  result.plain = (await until("plain", 4)).map((each) => JSON.stringify(each)).sort();
  result.routed = [await until("special", 1), await until("default", 1)];
  await until("tick", 1);
  // invocation
  result.echo = await client.invoker.invoke("js", "echo", HttpMethod.POST, { hello: "world" });
  result.nobody = await failure(client.invoker.invoke("nobody", "x", HttpMethod.GET));
  // bindings
  await client.binding.send("files", "create", "content", { fileName: "a.txt" });
  const file = await client.binding.send("files", "get", "", { fileName: "a.txt" });
  result.file = isGrpc ? Buffer.from(file.data).toString() : file;
  // configuration: over gRPC only, says the SDK
  if (isGrpc) {
    result.configuration = (await client.configuration.get("conf", ["greeting"])).items.greeting.value;
    const stream = await client.configuration.subscribeWithKeys("conf", ["greeting"], async (told) =>
      hear("configuration", told.items.greeting.value),
    );
    console.log("WATCHING");
    result.changed = (await until("configuration", 1))[0];
    await stream.stop();
  }
  // locks
  result.lock = [
    (await client.lock.lock("locks", "thing", "me", 60)).success,
    (await client.lock.lock("locks", "thing", "you", 60)).success,
    (await client.lock.unlock("locks", "thing", "you")).status,
    (await client.lock.unlock("locks", "thing", "me")).status,
  ];
  // the sidecar itself
  await client.metadata.set("mine", "yes");
  const shown = await client.metadata.get();
  result.metadata = [shown.id, shown.components.length];
  result.healthy = await client.health.isHealthy();
  console.log("RESULT " + JSON.stringify(result));
  await client.stop();
  // The SDK's gRPC server waits until nobody is connected, and the sidecar is until the app ends.
  if (!hearsGrpc) await server.stop();
  process.exit(0);
}

main().catch((error) => {
  console.log("FAILED " + error.stack);
  process.exit(1);
});
