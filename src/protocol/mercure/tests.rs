//! Tests of updates as events and forms.

use super::events::{EventMark, new_id};
use super::*;
use crate::protocol::Encode;
use crate::publication::{PayloadKind, Position, Publication, UpdateFields};
use crate::topics::TopicSelector;

fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

fn position(seq: u64) -> Option<Position> {
    Some(Position { epoch: 7, seq })
}

fn publication(payload: &'static str, update: UpdateFields, seq: Option<u64>) -> Publication {
    Publication {
        update: Some(Box::new(update)),
        position: seq.and_then(position),
        ..Publication::bare(payload.into())
    }
}

/// A client of these topics that may read the private updates of `private` ones.
struct MercureClient {
    followed: FollowedTopics,
    stamp: Stamp,
}

impl MercureClient {
    fn new(names: &[&str], last_id: Option<&str>, private: &'static [&'static str]) -> Self {
        let channels: Vec<_> = names.iter().map(|name| channel(name)).collect();
        let last_id = last_id.map(|text| LastId::read(&channels, text));
        let reader =
            PrivateReader::new(|topic| private.contains(&topic), |topic| topic != "https://hidden");
        let keeps_history = |channel: &Channel| !channel.as_str().starts_with("plain");
        let followed =
            FollowedTopics::new(channels, Vec::new(), last_id.as_ref(), keeps_history, reader);
        let stamp = followed.stamp();
        Self { followed, stamp }
    }

    /// One that follows everything below `https:`, except what is hidden from it.
    fn of_selector(names: &[&str]) -> Self {
        let channels: Vec<_> = names.iter().map(|name| channel(name)).collect();
        let reader = PrivateReader::new(|_| false, |topic| topic != "https://hidden");
        let selectors = vec![TopicSelector::parse("https:{+rest}").unwrap()];
        let followed = FollowedTopics::new(channels, selectors, None, |_| true, reader);
        let stamp = followed.stamp();
        Self { followed, stamp }
    }

    fn gets(&mut self, channel: &str, publication: &Publication) -> Option<String> {
        let event = (self.stamp)(MercureEvents::publication(channel, publication))?;
        Some(String::from_utf8(event.to_vec()).unwrap())
    }

    /// What the client gets for a `subscribed`, without the reconnect delay.
    fn subscribed(
        &mut self,
        name: &str,
        seq: Option<u64>,
        recovered: Option<bool>,
    ) -> Option<String> {
        let position = seq.and_then(position);
        let reply = Reply::Subscribed { id: None, channel: channel(name), position, recovered };
        let event = (self.stamp)(self.followed.reply(&reply)?)?;
        let text = String::from_utf8(event.to_vec()).unwrap();
        Some(
            text.lines()
                .filter(|line| !line.starts_with("retry"))
                .map(|line| format!("{line}\n"))
                .collect(),
        )
    }
}

#[test]
fn an_update_is_an_event_with_its_type_retry_and_the_position_as_id() {
    let mut client = MercureClient::new(&["a"], None, &[]);
    let update = UpdateFields {
        event: Some("price".into()),
        event_id: Some("urn:x".into()),
        retry_ms: Some(3000),
        ..UpdateFields::default()
    };
    let kept = publication("1\r\n2", update.clone(), Some(5));
    let expected = "id: 7-5\nretry: 3000\nevent: price\ndata: 1\ndata: 2\n\n";
    assert_eq!(client.gets("a", &kept).as_deref(), Some(expected));
    let mut client = MercureClient::new(&["plain"], None, &[]);
    let passing = publication("1", update, None);
    let expected = "id: urn:x\nretry: 3000\nevent: price\ndata: 1\n\n";
    assert_eq!(client.gets("plain", &passing).as_deref(), Some(expected));
    let bare = Publication::new(Bytes::from_static(b"\xff\x00"), PayloadKind::Binary);
    let event = client.gets("plain", &bare).unwrap();
    assert!(
        event.starts_with("id: urn:uuid:") && event.ends_with("\nevent: binary\ndata: /wA=\n\n"),
        "{event}"
    );
}

#[test]
fn the_id_of_a_stream_of_several_topics_resumes_each_of_them() {
    let mut client = MercureClient::new(&["a", "b"], None, &[]);
    let none = UpdateFields::default;
    client.gets("a", &publication("1", none(), Some(5)));
    let event = client.gets("b", &publication("2", none(), Some(9))).unwrap();
    let id = event.strip_prefix("id: ").and_then(|rest| rest.split_once('\n')).unwrap().0;
    let again = MercureClient::new(&["b", "a"], Some(id), &[]).followed;
    let since = [position(9), position(5)].map(|it| it.map(ReplayStart::After));
    assert_eq!(again.since(), since);
    let one = MercureClient::new(&["b"], Some(id), &[]).followed;
    assert_eq!(one.since(), [position(9).map(ReplayStart::After)]);
}

#[test]
fn a_private_update_is_only_for_clients_that_may_read_one_of_its_topics() {
    let private = |topics: &[&str]| UpdateFields {
        is_private: true,
        topics: topics.iter().map(|name| (*name).into()).collect(),
        ..UpdateFields::default()
    };
    let mut client = MercureClient::new(&["a"], None, &["b"]);
    assert_eq!(client.gets("a", &publication("1", private(&[]), Some(5))), None);
    assert!(client.gets("a", &publication("2", private(&["a", "b"]), Some(6))).is_some());
    assert!(client.gets("a", &publication("3", UpdateFields::default(), Some(7))).is_some());
    let mut allowed = MercureClient::new(&["a"], None, &["a"]);
    assert!(allowed.gets("a", &publication("1", private(&[]), Some(5))).is_some());
}

#[test]
fn an_update_of_several_topics_arrives_once_on_the_first_that_the_client_follows() {
    let topics = || UpdateFields {
        topics: ["a", "b", "c"].map(Into::into).into(),
        ..UpdateFields::default()
    };
    let mut client = MercureClient::new(&["c", "b"], None, &[]);
    let mut gets = |name: &str| client.gets(name, &publication("1", topics(), Some(5))).is_some();
    assert!(gets("b") && !gets("c"));
}

#[test]
fn an_update_arrives_by_a_selector_that_matches_and_once_of_several_topics() {
    let mut client = MercureClient::of_selector(&["a"]);
    let none = UpdateFields::default;
    let event = client.gets("https://b", &publication("1", none(), Some(5))).unwrap();
    assert!(event.starts_with("id: 7-5\n"), "{event}");
    assert_eq!(client.gets("http://b", &publication("1", none(), Some(5))), None);
    let topics = || UpdateFields {
        topics: ["https://hidden", "https://b", "a"].map(Into::into).into(),
        ..UpdateFields::default()
    };
    let update = publication("1", topics(), Some(6));
    assert!(client.gets("https://b", &update).is_some());
    assert_eq!(client.gets("a", &update), None);
    client.gets("a", &publication("2", none(), Some(7)));
    let event = client.gets("https://b", &publication("3", none(), Some(9))).unwrap();
    assert!(event.starts_with("id: 7-7\n"), "the position in the topics that resume: {event}");
}

#[test]
fn a_stream_begins_with_the_id_from_which_it_resumes_or_with_a_gap() {
    let mut client = MercureClient::new(&["a"], None, &[]);
    assert_eq!(client.subscribed("a", Some(5), None).as_deref(), Some("id: 7-5\n\n"));
    let mut client = MercureClient::new(&["a"], Some("7-4"), &[]);
    assert_eq!(client.followed.since(), [position(4).map(ReplayStart::After)]);
    assert_eq!(client.subscribed("a", Some(5), Some(true)).as_deref(), Some("id: 7-4\n\n"));
    assert_eq!(client.followed.report().last_id("7-4"), "7-4");
    let gap =
        "event: gap\ndata: {\"type\":\"gap\",\"channel\":\"a\",\"reason\":\"not_recovered\"}\n\n";
    let mut client = MercureClient::new(&["a"], Some("7-4"), &[]);
    assert_eq!(client.subscribed("a", Some(5), Some(false)), Some(format!("id: 7-5\n{gap}")));
    let lost = client.followed.report().lost();
    assert_eq!(client.followed.report().last_id("7-4"), EARLIEST);
    let again = client.followed.without(&lost);
    assert_eq!(again.since(), [Some(ReplayStart::First)]);
}

#[test]
fn earliest_and_unknown_ids_begin_with_what_is_kept() {
    for (last_id, has_gap) in [("earliest", false), ("urn:uuid:1", true), ("", true)] {
        let mut client = MercureClient::new(&["a", "plain"], Some(last_id), &[]);
        assert_eq!(client.followed.since(), [Some(ReplayStart::First), None]);
        let begin = client.subscribed("a", Some(5), Some(true));
        assert_eq!(begin.is_some_and(|it| it.contains("gap")), has_gap, "{last_id}");
        assert_eq!(client.followed.report().last_id(last_id), EARLIEST);
    }
}

#[test]
fn a_mark_is_read_as_it_was_written_and_anything_else_is_none() {
    let mark = EventMark {
        channel: "https://a.test/é",
        position: position(5),
        is_private: true,
        topics: vec!["x", "y"],
        event_id: "an id with spaces",
    };
    assert_eq!(EventMark::read(&mark.text()), Some(mark));
    for text in ["", "a", "a 7-5", "a 7-5 p", "a b p 0 ", "a 7-5 p 9 x", "a 7-5 p -1 x"] {
        assert_eq!(EventMark::read(text), None, "{text}");
    }
    assert_ne!(new_id(), new_id());
    assert_eq!(new_id().len(), "urn:uuid:".len() + 36);
}

fn read(form: &str) -> Result<Update, FormRefused> {
    Update::read(form.as_bytes(), 100)
}

#[test]
fn a_form_is_an_update_with_all_its_fields() {
    let form = "topic=https%3A%2F%2Fa.test%2F1&topic=b+c&topic=b+c&data=%7B%22a%22%3A+1%7D%0A&private=&id=urn%3A1\
        &type=price&retry=0300&later=1&&x";
    let Update { channels, publication } = read(form).unwrap();
    assert_eq!(channels, ["https://a.test/1", "b%20c"].map(channel));
    assert_eq!(&publication.payload[..], b"{\"a\": 1}\n");
    let update = *publication.update.unwrap();
    let expected = UpdateFields {
        is_private: true,
        event: Some("price".into()),
        event_id: Some("urn:1".into()),
        retry_ms: Some(300),
        topics: channels.iter().map(|it| it.as_str().into()).collect(),
    };
    assert_eq!(update, expected);
    let least = read("topic=a").unwrap();
    assert!(least.publication.payload.is_empty() && least.event_id().starts_with("urn:uuid:"));
    assert!(least.publication.update.unwrap().topics.is_empty());
}

#[test]
fn a_form_that_breaks_a_rule_is_refused_by_name() {
    for (form, what) in [
        ("data=1", "topic is missing"),
        ("topic=", "topic"),
        ("topic=*", "topic: *"),
        ("topic=a%0Ab", "control"),
        ("topic=%2F.well-known%2Fmercure%2Fsubscriptions%2Fa", "reserved"),
        ("topic=a&data=1&data=2", "data"),
        ("topic=a&id=%231", "id"),
        ("topic=a&id=earliest", "id"),
        ("topic=a&id=a%0Ab", "id"),
        ("topic=a&type=mercure", "type"),
        ("topic=a&type=a%0Db", "type"),
        ("topic=a&retry=1s", "retry"),
        ("topic=a&retry=-1", "retry"),
        ("topic=a&retry=99999999999999999999", "retry"),
        ("topic=%ff", "UTF-8"),
        ("topic=a&%ff=1", "UTF-8"),
    ] {
        let Err(FormRefused::BadRequest(refused)) = read(form) else { panic!("{form}") };
        assert!(refused.contains(what), "{form}: {refused}");
    }
    let many: Vec<String> = (0..33).map(|i| format!("topic={i}")).collect();
    let long: Vec<String> =
        (0..10).map(|i| format!("topic={}", i.to_string().repeat(250))).collect();
    for form in [
        many.join("&"),
        long.join("&"),
        format!("topic=a&data={}", "x".repeat(101)),
        "x=1&".repeat(300),
    ] {
        assert!(matches!(read(&form), Err(FormRefused::TooLarge(_))), "{}", &form[..20]);
    }
}
