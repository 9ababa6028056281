//! Pusher's protocol, as its client libraries speak it: channels of every kind, events of clients, users, presence, and
//! what ends a connection.

mod api;
mod channels;
mod client_events;
mod closing;
mod configuration;
mod hostile;
mod presence;
mod storm;
mod users;

pub use self::api::trigger;
use aws_lc_rs::hmac;
use serde_json::{Value, json};
use testkit::client::{Client, CloseFrame, Message};
use testkit::node::Node;

/// One application without a prefix, and one with one.
pub const APPS: &str = r#"pusher.apps=[{id="1",key="app-key",secret="app-secret"},{id="2",key="shop-key",secret="shop-secret",prefix="shop:"}]"#;

/// An application, as its server knows it.
#[derive(Clone, Copy)]
pub struct App {
    key: &'static str,
    secret: &'static str,
}

pub const APP: App = App { key: "app-key", secret: "app-secret" };
const SHOP: App = App { key: "shop-key", secret: "shop-secret" };

impl App {
    fn sign(self, text: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        let signature = hmac::sign(&key, text.as_bytes());
        signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn auth(self, text: &str) -> String {
        format!("{}:{}", self.key, self.sign(text))
    }
}

/// A client of an application.
pub struct Pusher {
    client: Client,
    app: App,
    socket_id: String,
}

impl Pusher {
    async fn connect(node: &Node, app: App) -> Self {
        let path = format!("/app/{}?protocol=7&client=js&version=8.6.0&flash=false", app.key);
        let mut client = Client::open(node, &path).await;
        let established = client.event().await;
        assert_eq!(established["event"], "pusher:connection_established");
        let socket_id = data(&established)["socket_id"].as_str().expect("a socket id").to_owned();
        Self { client, app, socket_id }
    }

    async fn send(&mut self, event: &str, data: Value) {
        self.client.send(json!({"event": event, "data": data}).to_string()).await;
    }

    pub async fn event(&mut self) -> Value {
        self.client.event().await
    }

    /// Asserts that nothing has arrived before the answer to a ping.
    async fn quiet(&mut self) {
        self.send("pusher:ping", json!({})).await;
        assert_eq!(self.event().await, json!({"event": "pusher:pong", "data": {}}));
    }

    /// Sends a subscription to an open channel, or a signed one.
    async fn ask(&mut self, channel: &str, channel_data: Option<Value>) {
        let channel_data = channel_data.map(|data| data.to_string());
        let signed = [self.socket_id.as_str(), channel].into_iter().chain(channel_data.as_deref());
        let auth = self.app.auth(&signed.collect::<Vec<_>>().join(":"));
        let auth = if channel.starts_with('p') { auth } else { String::new() };
        let data = json!({"channel": channel, "auth": auth, "channel_data": channel_data});
        self.send("pusher:subscribe", data).await;
    }

    /// Subscribes, and returns the data of the answer.
    async fn subscribe(&mut self, channel: &str, channel_data: Option<Value>) -> Value {
        self.ask(channel, channel_data).await;
        let answer = self.event().await;
        assert_eq!(answer["event"], "pusher_internal:subscription_succeeded", "{answer}");
        assert_eq!(answer["channel"], channel);
        data(&answer)
    }

    pub async fn subscribed(node: &Node, app: App, channel: &str) -> Self {
        let mut pusher = Self::connect(node, app).await;
        pusher.subscribe(channel, None).await;
        pusher
    }

    async fn sign_in(&mut self, user: Value) {
        let user_data = user.to_string();
        let auth = self.app.auth(&format!("{}::user::{user_data}", self.socket_id));
        self.send("pusher:signin", json!({"auth": auth, "user_data": user_data})).await;
    }

    /// Sends an event of a client.
    async fn trigger(&mut self, channel: &str, event: &str, data: Value) {
        let message = json!({"event": event, "channel": channel, "data": data});
        self.client.send(message.to_string()).await;
    }

    /// The code of the error event and of the close frame, which are the same.
    async fn closed(&mut self) -> CloseFrame {
        let mut error = None;
        loop {
            match self.client.next_frame().await {
                Message::Close(frame) => {
                    let frame = frame.expect("a close frame has a code");
                    let code = error.map(|error: Value| error["data"]["code"].clone());
                    assert_eq!(code, Some(json!(u16::from(frame.code))), "{frame:?}");
                    return frame;
                }
                Message::Text(text) => {
                    let event: Value = serde_json::from_str(&text).expect("events are JSON");
                    error = Some(event).filter(|event| event["event"] == "pusher:error").or(error);
                }
                other => panic!("no text: {other:?}"),
            }
        }
    }
}

/// The data of an event, which is JSON in a string.
fn data(event: &Value) -> Value {
    let text = event["data"].as_str().unwrap_or_else(|| panic!("no text in {event}"));
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

/// An event as a subscriber gets it.
pub fn event(name: &str, channel: &str, data: &str) -> Value {
    json!({"event": name, "channel": channel, "data": data})
}

/// Publishes through the internal API, as a service does.
async fn publish(node: &Node, channel: &str, payload: &str) {
    let path = format!("/api/publish/{}", channel.replace('#', "%23"));
    let answer = node.post(&path, &[], payload.as_bytes()).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}
