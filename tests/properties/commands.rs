//! The json protocol: a decoded command equals the encoded one, in any order of its fields and with unknown fields and
//! white space between them.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate::protocol::json::Json;
use tidegate::protocol::{Command, Id, Message, Speak};
use tidegate::publication::{Channel, PayloadKind, Position, Publication, ReplayStart};

use super::channels::channel;
use super::check_property;

/// A command and its JSON fields.
type EncodedCommand = (Command, Vec<(&'static str, Value)>);

fn position() -> impl Strategy<Value = Position> {
    any::<(u64, u64)>().prop_map(|(epoch, seq)| Position { epoch, seq })
}

/// Adds an optional field if it has a value.
fn push_optional(
    fields: &mut Vec<(&'static str, Value)>,
    name: &'static str,
    value: Option<Value>,
) {
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

fn publish_command() -> impl Strategy<Value = EncodedCommand> {
    let key = proptest::option::of("\\PC{1,60}");
    (any::<Option<i64>>(), channel(), payload(), key).prop_map(
        |(id, channel, (field, (bytes, kind)), key)| {
            let mut fields = vec![("type", json!("publish")), ("channel", json!(channel)), field];
            push_optional(&mut fields, "id", id.map(Value::from));
            push_optional(&mut fields, "idempotency_key", key.clone().map(Value::from));
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

fn other_command() -> impl Strategy<Value = EncodedCommand> {
    let since = proptest::option::of(position());
    (0..5u8, any::<Option<i64>>(), channel(), since, any::<Option<bool>>(), 1..=1000usize).prop_map(
        |(which, id, name, since, echo, limit)| {
            let channel = Channel::new(&name).expect("a name");
            let mut fields = Vec::new();
            push_optional(&mut fields, "id", id.map(Value::from));
            if which > 0 {
                fields.push(("channel", json!(name)));
            }
            let id = id.map(Id::from);
            let written = |at: Position| Value::from(at.to_string());
            let (kind, command) = match which {
                0 => ("ping", Command::Ping { id }),
                1 => {
                    let start = match (since, limit % 3) {
                        (Some(since), _) => {
                            fields.push(("since", written(since)));
                            Some(ReplayStart::After(since))
                        }
                        (None, 0) => {
                            fields.push(("since", json!("first")));
                            Some(ReplayStart::First)
                        }
                        (None, 1) => {
                            fields.push(("last", json!(limit)));
                            Some(ReplayStart::Newest(limit))
                        }
                        (None, _) => None,
                    };
                    push_optional(&mut fields, "echo", echo.map(Value::from));
                    let echo = echo.unwrap_or(true);
                    ("subscribe", Command::Subscribe { id, channel, start, echo, grant: None })
                }
                2 => ("unsubscribe", Command::Unsubscribe { id, channel }),
                3 => {
                    push_optional(&mut fields, "since", since.map(written));
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
fn a_decoded_json_command_equals_the_encoded_one() {
    let unknown = proptest::option::of(any::<String>());
    let written = prop_oneof![publish_command(), other_command()]
        .prop_flat_map(|(command, fields)| (Just(command), Just(fields).prop_shuffle()));
    check_property(1000, (written, unknown), |((command, fields), unknown)| {
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
