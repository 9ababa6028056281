//! What subscribers get.

use super::*;

fn subscribe(stomp: &Stomp, id: &str, destination: &str, more: &str) -> String {
    let escaped = id.replace('\\', "\\\\").replace(':', "\\c");
    answered(stomp, &format!("SUBSCRIBE\nid:{escaped}\ndestination:{destination}\n{more}\n\0"))
}

fn publication(payload: &'static str, seq: Option<u64>) -> Publication {
    let position = seq.map(|seq| Position { epoch: 7, seq });
    Publication { position, ..Publication::bare(payload.into()) }
}

/// What the session gets of a publication on the channel `a`.
fn delivered(stomp: &Stomp, payload: &'static str, seq: Option<u64>) -> String {
    let frame = Format::Stomp.publication("a", &publication(payload, seq));
    texts(&stomp.stamp().unwrap()(frame).unwrap_or_default())
}

#[test]
fn each_subscription_to_a_channel_gets_a_message_with_its_own_headers() {
    let stomp = connected("1.2");
    assert_eq!(subscribe(&stomp, "x:1", "/topic/a", ""), "");
    assert!(subscribe(&stomp, "2", "a", "receipt:r\n").starts_with("RECEIPT\nreceipt-id:r\n"));
    let text = delivered(&stomp, "hi", Some(5));
    let rest = "message-id:7-5\ncontent-length:2\n\nhi\0";
    let first = format!("MESSAGE\ndestination:/topic/a\nsubscription:x\\c1\n{rest}");
    assert_eq!(text, format!("{first}MESSAGE\ndestination:a\nsubscription:2\n{rest}"));
    assert_eq!(delivered(&stomp, "hi", Some(5)), "", "it has had that");
    assert_eq!(
        answered(&stomp, "UNSUBSCRIBE\nid:2\nreceipt:u\n\n\0"),
        "RECEIPT\nreceipt-id:u\n\n\0"
    );
    assert!(delivered(&stomp, "x", Some(6)).starts_with("MESSAGE\ndestination:/topic/a\n"));
    let unsubscribe = command(&stomp, "UNSUBSCRIBE\nid:x\\c1\n\n\0");
    assert!(matches!(unsubscribe, Command::Unsubscribe { .. }), "the last one ends the channel's");
    assert_eq!(delivered(&stomp, "x", Some(7)), "");
}

#[test]
fn a_subscription_gets_nothing_that_was_queued_before_its_begin() {
    let stomp = connected("1.2");
    subscribe(&stomp, "1", "a", "");
    let second =
        decode(&stomp, "SUBSCRIBE\nid:2\ndestination:a\nreceipt:r\n\n\0").remove(0).unwrap();
    let Command::Subscribe { id, channel, .. } = second else { panic!("{second:?}") };
    let begin = stomp.reply(&Reply::Subscribed { id, channel, position: None, recovered: None });
    assert!(!delivered(&stomp, "old", None).contains("subscription:2"));
    let begin = stomp.stamp().unwrap()(begin.unwrap()).unwrap();
    assert_eq!(texts(&begin), "RECEIPT\nreceipt-id:r\n\n\0");
    assert!(delivered(&stomp, "new", None).contains("subscription:2"));
}

#[test]
fn messages_that_are_in_no_history_have_ids_of_their_own() {
    let stomp = connected("1.0");
    answered(&stomp, "SUBSCRIBE\ndestination: /topic/a\n\n\0");
    let id = |text: String| {
        text.lines().find_map(|line| line.strip_prefix("message-id:").map(str::to_owned))
    };
    let first = delivered(&stomp, "x", None);
    assert!(first.starts_with("MESSAGE\ndestination:/topic/a\nmessage-id:"), "{first}");
    assert_ne!(id(first), id(delivered(&stomp, "x", None)));
    let unsubscribe = command(&stomp, "UNSUBSCRIBE\ndestination:/topic/a\n\n\0");
    assert!(matches!(unsubscribe, Command::Unsubscribe { .. }));
}

#[test]
fn a_client_that_acknowledges_nothing_gets_no_more_than_the_bound_and_later_the_rest() {
    let stomp = connected("1.2");
    subscribe(&stomp, "1", "a", "ack:client\n");
    assert!(delivered(&stomp, "x", Some(1)).contains("\nack:1@7-1\n"));
    let got = (2..300).filter(|seq| !delivered(&stomp, "x", Some(*seq)).is_empty()).count();
    assert_eq!(got, 255);
    let done = command(&stomp, "ACK\nid:1@7-127\n\n\0");
    assert!(matches!(done, Command::Ping { id: None }), "too few: {done:?}");
    let commands = decode(&stomp, "ACK\nid:1@7-128\n\n\0");
    let start = Some(ReplayStart::After(Position { epoch: 7, seq: 256 }));
    assert!(matches!(&commands[0], Ok(Command::Unsubscribe { id: None, .. })), "{commands:?}");
    assert!(matches!(&commands[1], Ok(Command::Subscribe { start: from, .. }) if *from == start));
    assert_eq!(delivered(&stomp, "x", Some(300)), "", "not before the channel is read again");
    let channel = Channel::new("a").unwrap();
    let begin = Reply::Subscribed { id: None, channel, position: None, recovered: Some(true) };
    assert_eq!(stomp.stamp().unwrap()(stomp.reply(&begin).unwrap()), None);
    assert!(delivered(&stomp, "x", Some(257)).contains("message-id:7-257"));
    for foreign in ["ACK\nid:9@7-1\n\n\0", "NACK\nid:x\n\n\0", "ACK\nid:1@m5.1\n\n\0"] {
        assert!(matches!(command(&stomp, foreign), Command::Ping { .. }), "{foreign}");
    }
}

#[test]
fn acknowledgements_name_messages_as_their_version_says() {
    for (version, ack) in [
        ("1.0", "ACK\nmessage-id:7-200\n\n\0"),
        ("1.1", "ACK\nsubscription:1\nmessage-id:7-200\n\n\0"),
        ("1.2", "ACK\nid:1@7-200\n\n\0"),
        (
            "1.1",
            "BEGIN\ntransaction:t\n\n\0ACK\nsubscription:1\nmessage-id:7-200\ntransaction:t\n\n\0COMMIT\ntransaction:t\n\n\0",
        ),
    ] {
        let stomp = connected(version);
        subscribe(&stomp, "1", "a", "ack:client\n");
        (1..300).for_each(|seq| _ = delivered(&stomp, "x", Some(seq)));
        let commands = decode(&stomp, ack);
        let resumes =
            |it: &Result<Command, ReplyError>| matches!(it, Ok(Command::Subscribe { .. }));
        assert!(commands.iter().any(resumes), "{version} {commands:?}");
    }
    assert!(refused(&connected("1.2"), "ACK\nmessage-id:1\n\n\0").contains("needs the header id"));
    assert!(refused(&connected("1.1"), "ACK\nmessage-id:1\n\n\0").contains("subscription"));
    assert!(
        refused(&connected("1.0"), "NACK\nmessage-id:1\n\n\0").contains("no command of STOMP 1.0")
    );
}

#[test]
fn a_gap_and_an_end_are_receipts_that_no_client_has_asked_for() {
    let stomp = connected("1.1");
    subscribe(&stomp, "1", "/topic/a", "");
    let push = |push: &Push<'_>| {
        texts(&stomp.stamp().unwrap()(Format::Stomp.push(push).unwrap()).unwrap())
    };
    let gap = push(&Push::Gap { channel: "a", reason: "broker_reconnected" });
    let own = "destination:/topic/a\nsubscription:1\n\n\0";
    assert_eq!(gap, format!("RECEIPT\nreceipt-id:tidegate-gap\nreason:broker_reconnected\n{own}"));
    let (reason, position) =
        (EndReason::new("d:o e").unwrap(), Some(Position { epoch: 7, seq: 9 }));
    let ended = push(&Push::Ended { channel: "a", reason: &reason, position });
    assert_eq!(
        ended,
        format!("RECEIPT\nreceipt-id:tidegate-ended\nreason:d o e\nposition:7-9\n{own}")
    );
}

#[test]
fn a_resume_that_may_miss_messages_is_told_with_and_without_a_receipt() {
    for (more, expected) in
        [("receipt:r\n", "RECEIPT\nreceipt-id:r\nposition:7-9\nrecovered:false\n\n\0"), ("", "")]
    {
        let stomp = connected("1.2");
        let frame = format!("SUBSCRIBE\nid:1\ndestination:a\nsince:7-1\n{more}\n\0");
        let Command::Subscribe { id, channel, .. } = command(&stomp, &frame) else { panic!() };
        let position = Some(Position { epoch: 7, seq: 9 });
        let reply = Reply::Subscribed { id, channel, position, recovered: Some(false) };
        let text = texts(&stomp.stamp().unwrap()(stomp.reply(&reply).unwrap()).unwrap());
        let gap = "RECEIPT\nreceipt-id:tidegate-gap\nreason:not_recovered\ndestination:a\nsubscription:1\n\n\0";
        assert_eq!(text, format!("{expected}{gap}"));
    }
}

#[test]
fn binary_and_large_publications_are_whole_messages_of_the_websocket() {
    let stomp = connected("1.2");
    subscribe(&stomp, "1", "a", "");
    for (length, head) in [(10, 4), (1000, 4), (100_000, 10)] {
        let payload = Bytes::from(vec![0xff; length]);
        let frame = Format::Stomp.publication("a", &Publication::bare(payload.clone()));
        let stamped = stomp.stamp().unwrap()(frame).unwrap();
        assert_eq!(stamped[0], 0x82);
        let body = &stamped[head..];
        let end = [&payload[..], b"\0"].concat();
        assert!(body.starts_with(b"MESSAGE\n") && body.ends_with(&end), "{length}");
        assert!(String::from_utf8_lossy(body).contains("content-type:application/octet-stream\n"));
    }
}
