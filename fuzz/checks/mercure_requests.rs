//! Requests of Mercure's protocol: the bytes are a form, a selector with a topic, an id of a last event, and the claims of a
//! token. What subscribers get of an accepted update is one event without foreign fields.

use bytes::Bytes;
use serde_json::value::RawValue;
use tidegate::protocol::Format;
use tidegate::protocol::mercure::{FollowedTopics, LastId, PrivateReader, Update};
use tidegate::publication::{Channel, Publication};
use tidegate::topics::{TopicAction, TopicRights, TopicSelector, channel_of, is_reserved};

/// Bytes of the data of an update.
const DATA_BYTES_MAX: usize = 2048;

pub fn check(bytes: &[u8]) {
    if let Ok(update) = Update::read(bytes, DATA_BYTES_MAX) {
        check_update(&update);
    }
    check_publication(&Publication::bare(Bytes::copy_from_slice(bytes)), &["a"]);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (first, second) = text.split_once('\n').unwrap_or((text, text));
    check_selector(first, second);
    check_last_id(first);
    if let Ok(claim) = serde_json::from_str::<Box<RawValue>>(text) {
        for (mercure, details) in [(Some(&*claim), None), (None, Some(&*claim))] {
            if let Ok(Some(rights)) = TopicRights::read(mercure, details) {
                rights.lists(TopicAction::Publish, "https://a.test/1");
                rights.payload("a");
            }
        }
    }
}

fn check_update(update: &Update) {
    assert!(!update.channels.is_empty() && update.publication.payload.len() <= DATA_BYTES_MAX);
    let names: Vec<&str> = update.channels.iter().map(Channel::as_str).collect();
    assert!(names.iter().all(|name| !is_reserved(name) && *name != "*"), "{names:?}");
    assert!(!update.event_id().is_empty());
    check_publication(&update.publication, &names);
}

/// Asserts that a subscriber of the first topic gets the publication as one event, and one of all of them gets it once.
fn check_publication(publication: &Publication, topics: &[&str]) {
    let channels: Vec<_> = topics.iter().filter_map(|topic| Channel::new(topic).ok()).collect();
    let reader = PrivateReader::new(|_| true, |_| false);
    let followed = FollowedTopics::new(channels.clone(), Vec::new(), None, |_| false, reader);
    let mut stamp = followed.stamp();
    let frames = channels.iter().map(|it| Format::Mercure.publication(it.as_str(), publication));
    let events: Vec<_> = frames.filter_map(&mut stamp).collect();
    assert_eq!(events.len(), 1, "{topics:?}");
    let event = std::str::from_utf8(&events[0]).expect("an event is text");
    let (fields, end) = event.split_at(event.len() - 2);
    assert!(end == "\n\n" && !fields.contains("\n\n"), "{event:?}");
    for line in fields.lines() {
        let name = line.split(": ").next().unwrap_or_default();
        assert!(matches!(name, "id" | "event" | "retry" | "data"), "{line:?}");
    }
}

fn check_selector(selector: &str, topic: &str) {
    let Ok(channel) = channel_of(topic) else { return };
    for parse in [TopicSelector::parse, TopicSelector::exact, TopicSelector::url_pattern] {
        let Ok(selector) = parse(selector) else { continue };
        let is_match = selector.matches(channel.as_str());
        assert!(is_match || selector != TopicSelector::All);
        assert_eq!(is_match, selector.matches(channel.as_str()));
    }
    if let Ok(itself) = TopicSelector::exact(topic) {
        assert!(itself.matches(channel.as_str()), "{topic:?}");
    }
}

fn check_last_id(text: &str) {
    for names in [&["a"][..], &["a", "https://b.test/1"]] {
        let channels: Vec<_> = names.iter().filter_map(|name| Channel::new(name).ok()).collect();
        let last_id = LastId::read(&channels, text);
        let reader = PrivateReader::new(|_| false, |_| false);
        let followed = FollowedTopics::new(channels, Vec::new(), Some(&last_id), |_| true, reader);
        assert_eq!(followed.since().len(), names.len());
    }
}
