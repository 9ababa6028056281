//! Messages of clients become commands, and publications, replies and pushes become events.

mod members;

use std::sync::Arc;

use serde_json::{Value, json};

use super::command::{PUBLISH, SUBSCRIBE};
use super::*;
use crate::protocol::{Command, Encoded, Grant};
use crate::publication::NodeId;

/// A session of the application `app` and its socket id.
struct TestClient {
    protocol: Pusher,
    app: Arc<App>,
    socket_id: String,
}

impl TestClient {
    fn new(prefix: &str) -> Self {
        let app = App::new("1".into(), "key".into(), "secret", prefix.to_owned());
        let app = Arc::new(app);
        let mut protocol = Pusher::new(Some(app.clone()));
        let session = SessionId { node: NodeId::random(), number: 7 };
        protocol.begin(session);
        Self { protocol, app, socket_id: session::socket_id(session) }
    }

    fn decode(&self, message: &Value) -> Decoded {
        let payload = message.to_string().into();
        self.protocol.decode(Message { kind: PayloadKind::Text, payload }, 128)
    }

    fn command(&self, message: &Value) -> Command {
        self.decode(message).unwrap().remove(0).unwrap()
    }

    fn error(&self, message: &Value) -> ReplyError {
        match self.decode(message) {
            Err(DecodeError::Answer(error)) => error,
            other => panic!("{message} gave {other:?}"),
        }
    }

    fn auth(&self, text: &str) -> String {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"secret");
        let signature = aws_lc_rs::hmac::sign(&key, text.as_bytes());
        let hex: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}:{hex}", self.app.key)
    }

    fn subscribe(&self, channel: &str, channel_data: Option<&str>) -> Value {
        let signed = [&self.socket_id, channel].into_iter().chain(channel_data);
        let auth = self.auth(&signed.collect::<Vec<_>>().join(":"));
        json!({"event": "pusher:subscribe", "data": {"channel": channel, "auth": auth, "channel_data": channel_data}})
    }

    fn sign_in(&self, user_data: &str) -> Value {
        let auth = self.auth(&format!("{}::user::{user_data}", self.socket_id));
        json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}})
    }

    fn subscribed(&self, channel: &str) -> Vec<Value> {
        let channel = Channel::new(channel).unwrap();
        let id = Some(SUBSCRIBE);
        let reply = Reply::Subscribed { id, channel, position: None, recovered: None };
        texts(&self.protocol.reply(&reply).unwrap_or_default())
    }
}

/// The objects in the frames.
fn texts(mut frames: &[u8]) -> Vec<Value> {
    let mut texts = Vec::new();
    while let [0x81, length, ..] = frames {
        let (at, length) = match length {
            126 => (4, usize::from(u16::from_be_bytes([frames[2], frames[3]]))),
            length => (2, usize::from(*length)),
        };
        texts.push(serde_json::from_slice(&frames[at..at + length]).unwrap());
        frames = &frames[at + length..];
    }
    texts
}

fn event(channel: &str, publication: &Publication) -> Value {
    texts(&Encoded::new(channel, publication).bytes(Format::Pusher)).remove(0)
}

fn text(payload: &str) -> Publication {
    Publication::new(payload.to_owned().into(), PayloadKind::Text)
}

#[test]
fn a_publication_that_is_an_event_is_that_event_and_any_other_is_a_message() {
    for (payload, name, data) in [
        (r#"{"event":"order","data":{"id": 1.50}}"#, "order", r#"{"id": 1.50}"#),
        (r#"{"data":"hi","event":"order"}"#, "order", "hi"),
        (r#"{"event":"order","data":null}"#, "order", "null"),
        (
            r#"{"event":"order","data":5,"more":1}"#,
            "message",
            r#"{"event":"order","data":5,"more":1}"#,
        ),
        (r#"{"event":"pusher:error","data":5}"#, "message", r#"{"event":"pusher:error","data":5}"#),
        (
            r#"{"event":"pusher_internal:x","data":5}"#,
            "message",
            r#"{"event":"pusher_internal:x","data":5}"#,
        ),
        (r#"{"event":"","data":5}"#, "message", r#"{"event":"","data":5}"#),
        (r#"{"event":"a","data":"\ud83d"}"#, "message", r#"{"event":"a","data":"\ud83d"}"#),
        ("plain \"text\"", "message", "plain \"text\""),
        ("{\"a\":1}", "message", "{\"a\":1}"),
        ("", "message", ""),
    ] {
        let expected = json!({"event": name, "channel": "news", "data": data});
        assert_eq!(event("shop:news", &text(payload)), expected, "{payload}");
    }
    let binary = Publication::bare(Bytes::from_static(b"\xff\x00"));
    let expected = json!({"event": "message", "channel": "news", "data": "/wA="});
    assert_eq!(event("news", &binary), expected);
}

#[test]
fn only_events_of_clients_on_presence_channels_name_the_user() {
    let of_user = |payload| Publication { user: Some("u1".into()), ..text(payload) };
    let user = |channel, payload| event(channel, &of_user(payload))["user_id"].clone();
    let typed = r#"{"event":"client-typed","data":1}"#;
    assert_eq!(user("a:presence-room", typed), "u1");
    assert_eq!(user("private-room", typed), Value::Null);
    assert_eq!(user("presence-room", r#"{"event":"typed","data":1}"#), Value::Null);
}

#[test]
fn data_that_is_json_in_a_text_reaches_others_as_json_and_pusher_clients_as_the_same_text() {
    for (data, stored) in [
        (r#"{"a": 1.0}"#, r#"{"a": 1.0}"#),
        ("[1,2]", "[1,2]"),
        ("5", "5"),
        ("hello", r#""hello""#),
        (r#""quoted""#, r#""\"quoted\"""#),
        (" {}", r#"" {}""#),
        ("1e999", r#""1e999""#),
    ] {
        let raw = serde_json::value::to_raw_value(data).unwrap();
        let payload = super::event::payload("e", &raw);
        assert_eq!(
            str::from_utf8(&payload).unwrap(),
            format!(r#"{{"event":"e","data":{stored}}}"#)
        );
        assert_eq!(event("news", &Publication::bare(payload))["data"], data, "{stored}");
    }
}

#[test]
fn a_signature_of_the_application_subscribes_to_a_private_channel_under_its_prefix() {
    let client = TestClient::new("shop:");
    let command = client.command(&client.subscribe("private-orders.1", None));
    let channel = Channel::new("shop:private-orders.1").unwrap();
    let grant = Some(Box::new(Grant { user: None, info: None, is_member: false }));
    let expected =
        Command::Subscribe { id: Some(SUBSCRIBE), channel, start: None, echo: false, grant };
    assert_eq!(command, expected);
    let succeeded = json!({
        "event": "pusher_internal:subscription_succeeded", "channel": "private-orders.1", "data": "{}",
    });
    assert_eq!(client.subscribed("shop:private-orders.1"), [succeeded]);
    let again = client.error(&client.subscribe("private-orders.1", None));
    assert!(again.message.contains("existing subscription"), "{}", again.message);
}

#[test]
fn other_signatures_and_names_are_refused_with_the_reason() {
    let client = TestClient::new("");
    let other = TestClient::new("");
    let mut wrong_key = client.subscribe("private-a", None);
    wrong_key["data"]["auth"] = json!("other:00");
    for (message, code, part) in [
        (other.subscribe("private-a", None), Code::Unauthorized, "invalid signature"),
        (wrong_key, Code::Unauthorized, "invalid key"),
        (
            json!({"event": "pusher:subscribe", "data": {"channel": "private-a"}}),
            Code::Unauthorized,
            "auth is missing",
        ),
        (client.subscribe("presence-a", None), Code::BadRequest, "needs channel_data"),
        (client.subscribe("presence-a", Some("{}")), Code::BadRequest, "channel_data is not"),
        (
            client.subscribe("presence-a", Some(r#"{"user_id":""}"#)),
            Code::BadRequest,
            "1 to 255 bytes",
        ),
        (
            client.subscribe(
                "presence-a",
                Some(&json!({"user_id": "u", "user_info": {"a": "x".repeat(1024)}}).to_string()),
            ),
            Code::BadRequest,
            "user_info is not a JSON object of at most 1024 bytes",
        ),
        (
            client.subscribe("presence-a", Some(&" ".repeat(20_000))),
            Code::BadRequest,
            "more than 10240 bytes",
        ),
        (client.subscribe("#server-to-user-u1", None), Code::Unauthorized, "has not signed in"),
        (
            json!({"event": "pusher:subscribe", "data": {"channel": "a:b"}}),
            Code::BadRequest,
            "letters, digits",
        ),
        (
            json!({"event": "pusher:subscribe", "data": {"channel": ""}}),
            Code::BadRequest,
            "letters, digits",
        ),
        (json!({"event": "pusher:subscribe"}), Code::BadRequest, "incomplete"),
        (json!({"event": "pusher:dance"}), Code::BadRequest, "event is one of"),
        (json!({"event": 5}), Code::BadRequest, "a message is"),
        (json!([]), Code::BadRequest, "a message is"),
    ] {
        let error = client.error(&message);
        assert_eq!(error.code, code, "{message}");
        assert!(error.message.contains(part), "{message}: {}", error.message);
    }
    let forged = other.sign_in(r#"{"id":"u1"}"#);
    assert!(matches!(client.decode(&forged), Err(DecodeError::Close(Close::Unauthorized(_)))));
}

#[test]
fn clients_send_events_on_signed_channels_to_which_they_are_subscribed_only() {
    let client = TestClient::new("");
    let event =
        |channel: &str| json!({"event": "client-typed", "channel": channel, "data": {"a": 1}});
    client.command(&client.subscribe("private-a", None));
    assert!(client.error(&event("private-a")).message.contains("not subscribed"), "not yet");
    client.subscribed("private-a");
    let Command::Publish { id, publication, .. } = client.command(&event("private-a")) else {
        panic!()
    };
    assert_eq!(id, Some(PUBLISH));
    assert_eq!(&publication.payload[..], br#"{"event":"client-typed","data":{"a":1}}"#);
    client.command(&client.subscribe("private-encrypted-a", None));
    client.subscribed("private-encrypted-a");
    for (channel, part) in [
        ("private-b", "not subscribed"),
        ("news", "private and presence channels only"),
        ("private-encrypted-a", "encrypted"),
    ] {
        let error = client.error(&event(channel));
        assert!(error.message.contains(part), "{channel}: {}", error.message);
        let reply = texts(&client.protocol.reply(&Reply::Error(error)).unwrap());
        assert_eq!(reply[0]["event"], "pusher:error");
        assert_eq!(reply[0]["data"]["code"], Value::Null);
    }
    client.command(&json!({"event": "pusher:unsubscribe", "data": {"channel": "private-a"}}));
    assert!(client.error(&event("private-a")).message.contains("not subscribed"), "any more");
}

#[test]
fn a_user_signs_in_once_and_may_use_its_own_channel_and_be_a_member() {
    let client = TestClient::new("shop:");
    let Command::SignIn { user, info, id } =
        client.command(&client.sign_in(r#"{"id":"a:b%","user_info":{"n":1}}"#))
    else {
        panic!()
    };
    assert_eq!(
        (&*user, info.map(|info| info.json().to_string()).as_deref()),
        ("shop:a:b%", Some(r#"{"n":1}"#))
    );
    let own = json!({"event": "pusher:subscribe", "data": {"channel": "#server-to-user-a:b%", "auth": ""}});
    assert_eq!(client.error(&own).code, Code::Unauthorized, "not admitted yet");
    let reply = Reply::Authenticated { id, user: Some(user), expires_in: None };
    let done = texts(&client.protocol.reply(&reply).unwrap());
    let data: Value = serde_json::from_str(done[0]["data"].as_str().unwrap()).unwrap();
    assert_eq!((done.len(), &done[0]["event"]), (1, &json!("pusher:signin_success")));
    assert_eq!(data["user_data"], r#"{"id":"a:b%","user_info":{"n":1}}"#);
    let Command::Subscribe { channel, .. } = client.command(&own) else { panic!() };
    assert_eq!(channel.as_str(), "shop:#server-to-user-a%3Ab%25");
    let shown = event(channel.as_str(), &text(r#"{"event":"e","data":1}"#));
    assert_eq!(shown["channel"], "#server-to-user-a:b%");
    let Command::Subscribe { grant: Some(grant), .. } =
        client.command(&client.subscribe("presence-a", None))
    else {
        panic!()
    };
    assert_eq!((grant.user.as_deref(), grant.is_member), (Some("a:b%"), true));
    let again = client.error(&client.sign_in(r#"{"id":"c"}"#));
    assert!(again.message.contains("already"));
}

#[test]
fn a_client_that_names_users_to_watch_is_told_that_it_hears_nothing_of_them() {
    let client = TestClient::new("");
    let Command::SignIn { id, .. } =
        client.command(&client.sign_in(r#"{"id":"a","watchlist":["b"]}"#))
    else {
        panic!()
    };
    let reply = Reply::Authenticated { id, user: None, expires_in: None };
    let told = texts(&client.protocol.reply(&reply).unwrap());
    assert_eq!(
        (&told[0]["event"], &told[1]["event"]),
        (&json!("pusher:signin_success"), &json!("pusher:error"))
    );
}

#[test]
fn an_error_of_a_subscription_is_told_on_its_channel() {
    let client = TestClient::new("shop:");
    let told = |id: Option<crate::protocol::Id>, channel: Option<&str>, code| {
        let (channel, message) = (channel.map(str::to_owned), "why".to_owned());
        let error = ReplyError { id, channel, code, message };
        texts(&client.protocol.reply(&Reply::Error(error)).unwrap()).remove(0)
    };
    let data = json!({"type": "AuthError", "error": "why", "status": 401});
    let expected =
        json!({"event": "pusher:subscription_error", "channel": "private-a", "data": data});
    assert_eq!(told(Some(SUBSCRIBE), Some("shop:private-a"), Code::Unauthorized), expected);
    assert_eq!(told(None, Some("shop:private-a"), Code::Forbidden)["data"]["status"], 403);
    let limited = told(Some(PUBLISH), Some("shop:private-a"), Code::RateLimited);
    assert_eq!(limited, json!({"event": "pusher:error", "data": {"code": 4301, "message": "why"}}));
}

#[test]
fn the_last_frames_are_an_error_event_and_a_close_frame_of_the_same_code() {
    for close in Close::EACH {
        let Some(frames) = Format::Pusher.close(close) else { continue };
        let close_frame = frames.iter().rposition(|byte| *byte == 0x88);
        let Some([_, _, high, low, ..]) = close_frame.map(|at| &frames[at..]) else { continue };
        let code = u16::from_be_bytes([*high, *low]);
        let errors = texts(&frames);
        match errors.first() {
            Some(error) => assert_eq!(error["data"]["code"], code, "{close:?}"),
            None => assert_eq!(code, 1000, "{close:?}"),
        }
        assert!(code == 1000 || (4000..4300).contains(&code), "{close:?} has {code}");
    }
    for (close, range) in [
        (Close::UnknownApp, 4000..4100),
        (Close::Revoked, 4000..4100),
        (Close::Overloaded, 4100..4200),
        (Close::Slow, 4100..4200),
        (Close::Drain { after: std::time::Duration::ZERO }, 4200..4300),
        (Close::PongTimeout, 4200..4300),
    ] {
        let code = texts(&Format::Pusher.close(close).unwrap())[0]["data"]["code"].clone();
        assert!(range.contains(&code.as_u64().unwrap()), "{close:?} has {code}");
    }
}

#[test]
fn socket_ids_are_two_numbers_and_name_their_session() {
    let session = SessionId { node: NodeId::random(), number: 0x2a };
    let id = session::socket_id(session);
    assert_eq!(session::session_of(&id), Some(session));
    for other in
        ["", "1", "1.", ".1", "a.1", "1.b", "+1.2", "281474976710656.1", "1.99999999999999999999"]
    {
        assert_eq!(session::session_of(other), None, "{other}");
    }
    let welcome =
        Push::Welcome { session: session.to_string(), node: String::new(), ping_interval_ms: 5 };
    let told = texts(&Format::Pusher.push(&welcome).unwrap()).remove(0);
    let data: Value = serde_json::from_str(told["data"].as_str().unwrap()).unwrap();
    assert_eq!(told["event"], "pusher:connection_established");
    assert_eq!(data, json!({"socket_id": id, "activity_timeout": 120}));
}

#[test]
fn a_new_subscriber_of_a_cache_channel_gets_the_last_event_or_is_told_that_there_is_none() {
    let client = TestClient::new("");
    let command =
        client.command(&json!({"event": "pusher:subscribe", "data": "{\"channel\":\"cache-a\"}"}));
    let Command::Subscribe { start, channel, .. } = command else { panic!("{command:?}") };
    assert_eq!(start, Some(ReplayStart::Newest(1)));
    let miss = client.protocol.nothing_kept(&channel).unwrap();
    assert_eq!(
        texts(&miss),
        [json!({"event": "pusher:cache_miss", "channel": "cache-a", "data": "{}"})]
    );
    assert_eq!(client.protocol.nothing_kept(&Channel::new("news").unwrap()), None);
}
