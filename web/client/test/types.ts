// The types that applications rely on, checked by tsc. Nothing here runs.
import { expectTypeOf } from "expect-type";
import { connect, type Publication, type Subscription, type TidegateError } from "../src/index.js";

interface Message { text: string }
interface Channels {
  news: { title: string };
  camera: Uint8Array;
  [chat: `chat:${string}`]: Message;
}

async function declared() {
  const client = connect<Channels>("wss://host/ws", { token: async () => "…" });
  client.subscribe("chat:1", (publication) => expectTypeOf(publication.data).toEqualTypeOf<Message>());
  client.subscribe("camera", ({ bytes }) => expectTypeOf(bytes).toEqualTypeOf<Uint8Array>());
  for await (const { data, position, user, time, channel } of client.subscribe("news", { last: 20 })) {
    expectTypeOf(data.title).toBeString();
    expectTypeOf(position).toEqualTypeOf<string | undefined>();
    expectTypeOf(user).toEqualTypeOf<string | undefined>();
    expectTypeOf(time).toEqualTypeOf<number | undefined>();
    expectTypeOf(channel).toBeString();
  }
  expectTypeOf(await client.publish("chat:1", { text: "hello" })).toEqualTypeOf<{ position?: string }>();
  expectTypeOf((await client.history("chat:1", { limit: 5 })).publications[0]!.data).toEqualTypeOf<Message>();
  // @ts-expect-error: the payload has another type
  client.publish("chat:1", { title: "hello" });
  // @ts-expect-error: there is no such channel
  client.subscribe("chats", () => {});
  // @ts-expect-error: `last` is a number
  client.subscribe("news", { last: "20" });
}

async function undeclared() {
  const client = connect("wss://host/ws");
  client.subscribe("news", ({ data, text, bytes }) => {
    expectTypeOf(data).toBeUnknown();
    expectTypeOf(text).toEqualTypeOf<string | undefined>();
    expectTypeOf(bytes).toEqualTypeOf<Uint8Array | undefined>();
  });
  // A handler may say what it expects.
  const chat = client.subscribe("chat:1", ({ data }: Publication<Message>) => void data.text);
  expectTypeOf(chat).toEqualTypeOf<Subscription<Message>>();
  chat.on("gap", ({ reason }) => expectTypeOf(reason).toBeString());
  chat.on("ended", ({ reason }) => expectTypeOf(reason).toBeString());
  chat.on("join", ({ user }) => expectTypeOf(user).toEqualTypeOf<string | null>());
  chat.on("error", (error) => expectTypeOf(error).toEqualTypeOf<TidegateError>());
  client.on("state", (state) => expectTypeOf(state).toEqualTypeOf<"connecting" | "open" | "waiting" | "closed">());
  expectTypeOf(await client.presence("chat:1")).toHaveProperty("members");
  client.subscribe("news", { since: "first" }, () => {});
  // @ts-expect-error: there is no such event
  chat.on("message", () => {});
}

void declared;
void undeclared;
