//! The json protocol: a command is read as it was written, in whichever order its fields stand and
//! whatever else stands between them.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate::protocol::json::Json;
use tidegate::protocol::{Command, Id, Message, Speak};
use tidegate::publication::{Channel, PayloadKind, Position, Publication};

use super::channels::channel;
use super::holds;

/// A command, and the fields that say it.
type Written = (Command, Vec<(&'static str, Value)>);

fn position() -> impl Strategy<Value = Position> {
    any::<(u64, u64)>().prop_map(|(epoch, seq)| Position { epoch, seq })
}

/// Each field that may be left out is, now and then.
fn optional(fields: &mut Vec<(&'static str, Value)>, name: &'static str, value: Option<Value>) {
    fields.extend(value.map(|value| (name, value)));
}

fn payload() -> impl Strategy<Value = ((&'static str, Value), (Vec<u8>, PayloadKind))> {
    use base64::Engine;
    let text = any::<String>()
        .prop_map(|text| (("text", json!(text)), (text.into_bytes(), PayloadKind::Text)));
    let binary = vec(any::<u8>(), 0..50).prop_map(|bytes| {
        let base64 = base64::engine::general_purpose::STANDARD.encode(&bytes);
        (("base64", json!(base64)), (bytes, PayloadKind::Binary))
    });
    let data = any::<(String, i64, bool)>().prop_map(|(text, number, flag)| {
        let data = json!({ text.as_str(): [number, flag, null, text] });
        let bytes = data.to_string().into_bytes();
        (("data", data), (bytes, PayloadKind::Text))
    });
    prop_oneof![text, binary, data]
}

fn publish() -> impl Strategy<Value = Written> {
    let key = proptest::option::of("\\PC{1,60}");
    (any::<Option<i64>>(), channel(), payload(), key).prop_map(
        |(id, channel, (field, (bytes, kind)), key)| {
            let mut fields = vec![("type", json!("publish")), ("channel", json!(channel)), field];
            optional(&mut fields, "id", id.map(Value::from));
            optional(&mut fields, "idempotency_key", key.clone().map(Value::from));
            let id = id.map(Id::from);
            let publication = Publication {
                id: key.map(Into::into),
                ..Publication::new(Bytes::from(bytes), kind)
            };
            let channel = Channel::new(&channel).expect("a name");
            (Command::Publish { id, channel, publication }, fields)
        },
    )
}

fn others() -> impl Strategy<Value = Written> {
    let since = proptest::option::of(position());
    (0..5u8, any::<Option<i64>>(), channel(), since, any::<Option<bool>>(), 1..=1000usize).prop_map(
        |(which, id, name, since, echo, limit)| {
            let channel = Channel::new(&name).expect("a name");
            let mut fields = Vec::new();
            optional(&mut fields, "id", id.map(Value::from));
            if which > 0 {
                fields.push(("channel", json!(name)));
            }
            let id = id.map(Id::from);
            let written = |at: Position| Value::from(at.to_string());
            let (kind, command) = match which {
                0 => ("ping", Command::Ping { id }),
                1 => {
                    optional(&mut fields, "since", since.map(written));
                    optional(&mut fields, "echo", echo.map(Value::from));
                    let echo = echo.unwrap_or(true);
                    ("subscribe", Command::Subscribe { id, channel, since, echo })
                }
                2 => ("unsubscribe", Command::Unsubscribe { id, channel }),
                3 => {
                    optional(&mut fields, "since", since.map(written));
                    fields.push(("limit", json!(limit)));
                    ("history", Command::History { id, channel, since, limit })
                }
                _ => ("presence", Command::Presence { id, channel }),
            };
            fields.push(("type", json!(kind)));
            (command, fields)
        },
    )
}

#[test]
fn a_command_is_read_as_it_was_written() {
    let unknown = proptest::option::of(any::<String>());
    let written = prop_oneof![publish(), others()]
        .prop_flat_map(|(command, fields)| (Just(command), Just(fields).prop_shuffle()));
    holds(1000, (written, unknown), |((command, fields), unknown)| {
        let unknown = unknown.map(|it| ("unknown to this node", json!([{ "x": it }])));
        let fields = fields.into_iter().chain(unknown);
        let fields: Vec<String> =
            fields.map(|(name, value)| format!(" {} :\t{value}\n", json!(name))).collect();
        let text = format!("\r\n{{{}}} ", fields.join(","));
        let message = Message { kind: PayloadKind::Text, payload: Bytes::from(text.clone()) };
        prop_assert_eq!(Json.decode(message, usize::MAX), Ok(vec![Ok(command)]), "{}", text);
        Ok(())
    });
}
