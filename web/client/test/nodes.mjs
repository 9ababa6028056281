// Real nodes, a real Redis and a proxy that cuts connections, for the tests of the client.
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer as createHttpServer, request as httpRequest } from "node:http";
import { connect as dial, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after } from "node:test";

const BINARY = process.env.TIDEGATE ?? new URL("../../../target/debug/tidegate", import.meta.url).pathname;
/** How long a wait for a condition, the start of a process and a request to a node may take, in milliseconds. */
const TIMEOUT = 20_000;
const SECRET = "a secret of the tests, 32 bytes long";

/** Ends when the file's tests are done, whatever their result. */
export const cleanups = [];
after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

/** Waits until the condition holds and returns its value. */
export async function until(what, condition) {
  const deadline = performance.now() + TIMEOUT;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > deadline) throw new Error(`did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Rules with history for `kept:*` and presence for all; token authentication where `auth` is set. */
export const RULES = `[
  { pattern = "kept:*", subscribe = "anyone", publish = "anyone", history = { size = 1000, age = "10m" }, presence = true },
  { pattern = "few:*", subscribe = "anyone", publish = "anyone", history = { size = 5, age = "10m" } },
  { pattern = "secret:*", subscribe = "token", publish = "token" },
  { pattern = "**", subscribe = "anyone", publish = "anyone" }]`;
export const AUTH = { "auth.mode": "token", "auth.keys": `[{ alg = "HS256", secret = "${SECRET}" }]` };

/** Starts a node; `port` of an earlier one to take its place. */
export async function startNode({ port = 0, broker = "memory:", restart, ...settings } = {}) {
  const all = { "server.listen": `127.0.0.1:${port}`, "internal.listen": "127.0.0.1:0", "broker.url": broker, rules: RULES, "drain.delay": "0s", "broker.publish_timeout": "10s", ...settings };
  const child = spawn(BINARY, Object.entries(all).flatMap(([key, value]) => ["--set", `${key}=${value}`]), { stdio: ["ignore", "ignore", "pipe"] });
  const exited = once(child, "exit");
  cleanups.push(() => stop("SIGKILL"));
  const log = [];
  let facts;
  createInterface(child.stderr).on("line", (line) => {
    log.push(line);
    if (line.includes('"listening"')) facts = JSON.parse(line);
  });
  await until("the node listens", () => {
    if (child.exitCode != null || child.signalCode != null) throw new Error(`the node ended: ${log.join("\n")}`);
    return facts;
  });
  async function stop(signal) {
    child.kill(signal);
    await exited;
  }
  /** A request to the internal listener. A node that does not answer in time fails it. */
  const ask = (path, options) => fetch(`http://${facts.internal}/${path}`, { ...options, signal: AbortSignal.timeout(TIMEOUT) });
  const api = (path, body) => ask(`api/${path}`, { method: "POST", body });
  await until("the node is ready", async () => (await ask("readyz")).ok);
  return {
    port: Number(facts.public.split(":")[1]),
    http: `http://${facts.public}`,
    url: `ws://${facts.public}/ws`,
    log,
    pause: () => child.kill("SIGSTOP"),
    resume: () => child.kill("SIGCONT"),
    kill: () => stop("SIGKILL"),
    drain: () => api("drain"),
    metrics: async () => (await ask("metrics")).text(),
    /** The names of the channels that have subscribers. */
    channels: async () => (await (await ask("api/channels")).json()).channels.map(({ channel }) => channel),
    /** Ends a run as its worker does. */
    async end(channel, body) {
      const response = await api(`end/${encodeURIComponent(channel)}`, JSON.stringify(body));
      if (!response.ok) throw new Error(await response.text());
    },
    /** Publishes as a service does. */
    async publish(channel, data) {
      const response = await api(`publish/${encodeURIComponent(channel)}`, data instanceof Uint8Array ? data : JSON.stringify(data));
      if (!response.ok) throw new Error(await response.text());
    },
  };
}

export async function startRedis() {
  const directory = mkdtempSync(join(tmpdir(), "tidegate-client-"));
  const port = await freePort();
  let child;
  let exited;
  async function start() {
    child = spawn("redis-server", ["--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", directory], { stdio: "ignore" });
    exited = once(child, "exit");
    const own = child;
    await until("Redis answers", () => {
      if (own.exitCode != null) throw new Error(`Redis ended with ${own.exitCode}; is port ${port} taken?`);
      return answers(port, own.pid);
    });
  }
  /** Also where it has ended by itself: the exit is told once. */
  async function kill() {
    child.kill("SIGKILL");
    await exited;
  }
  cleanups.push(async () => {
    await kill();
    rmSync(directory, { recursive: true, force: true });
  });
  await start();
  return { broker: `redis://127.0.0.1:${port}`, restart: () => kill().then(start) };
}

/** Whether this Redis answers on the port, and not another one that has taken it. */
function answers(port, pid) {
  return new Promise((resolve) => {
    const socket = dial(port, "127.0.0.1", () => socket.write("INFO server\r\n"));
    socket.setTimeout(TIMEOUT, () => socket.destroy());
    let answer = "";
    socket.on("data", (bytes) => {
      answer += bytes;
      if (/process_id:\d+\r/.test(answer)) socket.destroy();
    });
    socket.on("error", () => {}).on("close", () => resolve(answer.includes(`process_id:${pid}\r`)));
  });
}

/** Below the ports that the system gives to connections: none takes it before Redis starts, or while Redis is restarted. */
const PORTS = { from: 12_000, to: 32_000 };

async function freePort() {
  for (;;) {
    const port = PORTS.from + Math.floor(Math.random() * (PORTS.to - PORTS.from));
    const server = createServer();
    const isFree = await new Promise((resolve) => server.on("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true)));
    if (!isFree) continue;
    server.close();
    await once(server, "close");
    return port;
  }
}

/** A proxy before a node, with faults that the test switches. */
export async function startProxy(node) {
  const pairs = new Set();
  const proxy = {
    target: node.port,
    /** Connections are accepted, and nothing goes through. */
    stalled: false,
    /** Answers do not reach the client. */
    mute: false,
    /** New connections are refused. */
    refuses: false,
    connections: 0,
    cut: () => pairs.forEach(({ client, server }) => { client.resetAndDestroy(); server.destroy(); }),
  };
  const server = createServer((client) => {
    if (proxy.refuses) return void client.resetAndDestroy();
    proxy.connections++;
    const target = dial(proxy.target, "127.0.0.1");
    const pair = { client, server: target };
    pairs.add(pair);
    client.on("data", (bytes) => proxy.stalled || target.write(bytes));
    target.on("data", (bytes) => proxy.stalled || proxy.mute || client.write(bytes));
    for (const [one, other] of [[client, target], [target, client]]) {
      one.on("error", () => {}).on("close", () => { pairs.delete(pair); other.destroy(); });
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => { proxy.cut(); server.close(); });
  return Object.assign(proxy, { url: `ws://127.0.0.1:${server.address().port}/ws`, http: `http://127.0.0.1:${server.address().port}` });
}

/** A proxy for HTTP before a node, with what proxies do to WebSockets and streams. */
export async function startHttpProxy(node) {
  const proxy = {
    target: node.port,
    /** What happens to an upgrade: "pass", "refuse" with 403, "hang", or "mute": accepted, and no frame comes through. */
    upgrades: "refuse",
    /** Answers are passed on only when they are complete. */
    buffers: false,
    /** Whether the answer to this request stays open and carries nothing more: `(url) => boolean`. */
    isSilent: () => false,
    /** What a request waits for before it is passed on: `(url) => promise`. */
    hold: () => undefined,
    /** Everything is refused, as without a network. */
    down: false,
    requests: [],
    sockets: new Set(),
    cut: () => proxy.sockets.forEach((socket) => socket.resetAndDestroy()),
  };
  const server = createHttpServer(async (request, response) => {
    proxy.requests.push(`${request.method} ${request.url}`);
    await proxy.hold(request.url);
    const forwarded = httpRequest({ port: proxy.target, host: "127.0.0.1", method: request.method, path: request.url, headers: request.headers }, (answer) => {
      if (!proxy.buffers) {
        response.writeHead(answer.statusCode, answer.headers);
        answer.on("data", (bytes) => proxy.isSilent(request.url) || response.write(bytes));
        return void answer.on("end", () => response.end()).on("error", () => response.destroy());
      }
      const chunks = [];
      answer.on("data", (chunk) => chunks.push(chunk)).on("error", () => {}).on("end", () => {
        response.writeHead(answer.statusCode, answer.headers);
        response.end(Buffer.concat(chunks));
      });
    });
    forwarded.on("error", () => response.destroy());
    response.on("close", () => forwarded.destroy());
    request.pipe(forwarded);
  });
  server.on("connection", (socket) => {
    if (proxy.down) return void socket.resetAndDestroy();
    proxy.sockets.add(socket);
    socket.on("close", () => proxy.sockets.delete(socket)).on("error", () => {});
  });
  server.on("upgrade", (request, socket, head) => {
    proxy.requests.push("upgrade");
    if (proxy.upgrades == "hang") return;
    if (proxy.upgrades == "refuse") return void socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    const target = dial(proxy.target, "127.0.0.1");
    target.write(`${request.method} ${request.url} HTTP/1.1\r\n${request.rawHeaders.map((each, at) => each + (at % 2 ? "\r\n" : ": ")).join("")}\r\n`);
    target.write(head);
    socket.pipe(target);
    if (proxy.upgrades == "pass") target.pipe(socket);
    else target.once("data", (bytes) => socket.write(bytes.subarray(0, bytes.indexOf("\r\n\r\n") + 4)));
    for (const [one, other] of [[socket, target], [target, socket]]) one.on("error", () => {}).on("close", () => other.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => { proxy.cut(); server.close(); server.closeAllConnections(); });
  return Object.assign(proxy, { url: `ws://127.0.0.1:${server.address().port}/ws` });
}

/** A token of the user, for `AUTH`. */
export function token(user, { ttl = 3600, ...claims } = {}) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const now = Date.now() / 1000;
  const signed = `${part({ alg: "HS256" })}.${part({ sub: user, iat: Math.floor(now), exp: now + ttl, ...claims })}`;
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}

/** The client's states and what a subscription tells, in order. */
export function record(client) {
  const states = [];
  client.on("state", (state, detail) => states.push({ state, ...detail }));
  return {
    states,
    until: (state, count = 1) => until(`the state ${state}`, () => states.filter((each) => each.state == state).length >= count),
  };
}

export function journal(subscription) {
  const entries = [];
  for (const event of ["publication", "subscribed", "gap", "ended", "join", "leave", "error"]) {
    subscription.on(event, (value) => entries.push({ event, value }));
  }
  const of = (event) => entries.filter((each) => each.event == event).map((each) => each.value);
  return {
    entries,
    of,
    get data() { return of("publication").map((publication) => publication.data); },
    until: (event, count = 1) => until(`${count} ${event}`, () => of(event).length >= count && of(event)),
  };
}
