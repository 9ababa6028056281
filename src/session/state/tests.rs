use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::protocol::json::Json;
use crate::protocol::plain::Plain;
use crate::publication::{PayloadKind, Publication};

const SECOND: Duration = Duration::from_secs(1);

fn state(protocol: impl Into<Protocol>) -> SubscriptionState {
    let config = Config {
        ping_interval: 25 * SECOND,
        pong_timeout: 10 * SECOND,
        message_bytes_max: 1,
        queue_bytes_max: 1,
        channels_max: 2,
        patterns_max: 16,
        json_depth_max: 128,
    };
    let (rules, limits) = (Rules::default(), Limits::default());
    SubscriptionState::new(protocol.into(), Arc::new(config), rules, limits, Principal::default())
}

fn handle_text(state: &mut SubscriptionState, text: &str, subscribed: usize) -> Vec<Action> {
    let payload = Bytes::copy_from_slice(text.as_bytes());
    state.handle_message(
        Message { kind: PayloadKind::Text, payload },
        subscribed,
        |_| false,
        Instant::now(),
    )
}

#[test]
fn a_plain_frame_becomes_a_publication_unchanged() {
    let channel = Channel::new("a").unwrap();
    let mut state = state(Plain { channel: channel.clone(), traceparent: None });
    let publication = Publication::new(Bytes::from_static(b"{]"), PayloadKind::Text);
    let command = Command::Publish { id: None, channel, publication };
    assert_eq!(handle_text(&mut state, "{]", 1), [Action::Do(command)]);
}

#[test]
fn channels_beyond_channels_max_are_each_refused_by_name() {
    let text = r#"{"type":"subscribe","id":1,"channels":{"a":null,"b":null,"c":null}}"#;
    let actions = handle_text(&mut state(Json), text, 1);
    assert!(matches!(actions[0], Action::Do(Command::Subscribe { .. })));
    for (action, name) in actions[1..].iter().zip(["b", "c"]) {
        let Action::Reply(Reply::Error(error)) = action else { panic!("{action:?}") };
        assert_eq!((error.code, error.channel.as_deref().unwrap()), (Code::LimitReached, name));
    }
}

#[test]
fn bad_commands_are_answered_until_too_many_are_consecutive() {
    let mut state = state(Json);
    for _ in 0..BAD_COMMANDS_MAX {
        assert_eq!(handle_text(&mut state, "{}", 0).len(), 1);
    }
    handle_text(&mut state, r#"{"type":"ping"}"#, 0);
    for _ in 0..BAD_COMMANDS_MAX {
        assert_eq!(handle_text(&mut state, "{}", 0).len(), 1);
    }
    assert!(matches!(handle_text(&mut state, "{}", 0)[1], Action::Close(Close::Policy(_))));
}

#[test]
fn a_well_formed_command_for_an_absent_history_is_no_bad_command() {
    let mut state = state(Json);
    for _ in 0..=BAD_COMMANDS_MAX {
        assert_eq!(handle_text(&mut state, r#"{"type":"history","channel":"a"}"#, 0).len(), 1);
    }
}
