//! Which sessions requests about topics ask for.

use crate::protocol::mercure::{
    self, EARLIEST, FollowedTopics, FormRefused, LastId, Mercure, PrivateReader, TOPICS_MAX, Update,
};
use crate::publication::Channel;
use crate::rules::{ByteClass, InvalidSubscriptionPattern, SubscriptionPart, SubscriptionPattern};
use crate::topics::{InvalidTopic, SELECTOR_BYTES_MAX, TopicSelector, channel_of};
use crate::transport::request_refused::RequestRefused;
use crate::transport::routed_request::{RoutedRequest, SessionRequest};
use percent_encoding::percent_decode_str;

/// The parameters that name a topic, and those that name one whatever its characters.
const TOPIC: &str = "topic";
const EXACT: [&str; 2] = ["match", "match_exact"];

/// The parameters with the id of the last event that a client received.
const LAST_IDS: [&str; 3] = ["lastEventID", "last_event_id", "Last-Event-ID"];

/// The topics that a client wants to follow.
#[derive(Clone)]
pub struct TopicsRequest {
    followed: FollowedTopics,
    /// The patterns whose channels the selectors select from.
    patterns: Vec<SubscriptionPattern>,
    /// The id of the last event, as the client sent it.
    last_id: Option<String>,
}

impl TopicsRequest {
    /// `keeps_history`: whether the rule of a channel keeps any. `may_read`: whether the client may read private updates of
    /// a channel. `may_follow`: whether it gets a channel by a selector.
    pub fn read(
        routed: &RoutedRequest<'_>,
        keeps_history: impl Fn(&Channel) -> bool,
        may_read: impl Fn(&str) -> bool + Send + Sync + 'static,
        may_follow: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Result<Self, RequestRefused> {
        let Topics { channels, selectors, patterns } = topics(routed)?;
        let last_id = last_id(routed)?;
        let start = last_id.as_deref().map(|text| LastId::read(&channels, text));
        let reader = PrivateReader::new(may_read, may_follow);
        let followed =
            FollowedTopics::new(channels, selectors, start.as_ref(), keeps_history, reader);
        Ok(Self { followed, patterns, last_id })
    }

    /// The client reconnects if it cannot be subscribed immediately, so that it misses nothing unknowingly.
    pub fn session(&self) -> SessionRequest {
        let since = self.followed.since();
        let protocol = Mercure::Follow(Box::new(self.followed.clone()));
        SessionRequest { since, closes_on_gap: true, ..SessionRequest::new(protocol) }
    }

    /// The request to send everything that is kept of the channels that could not resume in the session. None: all could.
    pub fn again(&self) -> Option<Self> {
        let lost = self.followed.report().lost();
        let followed = || self.followed.without(&lost);
        (!lost.is_empty()).then(|| Self { followed: followed(), ..self.clone() })
    }

    /// The patterns that the session follows besides its channels, and whether the client had been there before.
    pub fn patterns(&self) -> (Vec<SubscriptionPattern>, bool) {
        (self.patterns.clone(), self.last_id.as_deref().is_some_and(|it| it != EARLIEST))
    }

    /// The id before the first event that the client gets. None: it has not asked for the past.
    pub fn id_before(&self) -> Option<&str> {
        let requested = self.last_id.as_deref()?;
        if self.followed.has_selectors() {
            // What was published to a pattern meanwhile is not read again.
            return Some(EARLIEST);
        }
        Some(self.followed.report().last_id(requested))
    }
}

/// A session that publishes updates.
pub fn publisher() -> SessionRequest {
    SessionRequest::new(Mercure::Publish)
}

/// Reads the form of an update. `bytes_max`: of its data.
pub fn update(form: &[u8], bytes_max: usize) -> Result<Update, RequestRefused> {
    Update::read(form, bytes_max).map_err(|refused| match refused {
        FormRefused::BadRequest(what) => RequestRefused::bad_request(what),
        FormRefused::TooLarge(what) => RequestRefused::too_large_for(what),
    })
}

pub fn form_bytes_max(bytes_max: usize) -> usize {
    mercure::form_bytes_max(bytes_max)
}

/// What the query names.
#[derive(Default)]
struct Topics {
    channels: Vec<Channel>,
    selectors: Vec<TopicSelector>,
    patterns: Vec<SubscriptionPattern>,
}

/// Each topic of the query, once: at most as many as a session may have channels.
fn topics(routed: &RoutedRequest<'_>) -> Result<Topics, RequestRefused> {
    let most = TOPICS_MAX.min(routed.session.channels_max);
    let mut topics = Topics::default();
    for (name, value) in routed.query.pairs() {
        let is_exact = EXACT.contains(&name);
        if name != TOPIC && !is_exact {
            if name.get(..5).is_some_and(|begin| begin.eq_ignore_ascii_case("match")) {
                return Err(unknown_matcher().naming(name));
            }
            continue;
        }
        let sent = value.map_or("", crate::http::Parameter::as_sent);
        let topic = decoded(sent).ok_or_else(|| {
            RequestRefused::bad_request(format!("{name}: a topic is UTF-8, percent-encoded"))
        })?;
        topics.add(&topic, is_exact).map_err(|what| {
            RequestRefused::bad_request(format!("{name}: {what}")).naming(&topic)
        })?;
        if topics.channels.len() + topics.selectors.len() > most {
            let what = format!("{name}: at most {most} topics per connection");
            return Err(RequestRefused::bad_request(what));
        }
    }
    match topics.channels.is_empty() && topics.selectors.is_empty() {
        true => Err(RequestRefused::bad_request(
            "the query must name a topic: ?topic=https%3A%2F%2Fexample.com%2Fbooks%2F1, also several times",
        )),
        false => Ok(topics),
    }
}

fn unknown_matcher() -> RequestRefused {
    RequestRefused::bad_request(
        "the parameters that begin with match are match and match_exact, each with one topic; URL patterns are not offered",
    )
}

impl Topics {
    /// Fails with what is wrong with the topic.
    fn add(&mut self, topic: &str, is_exact: bool) -> Result<(), String> {
        if topic.len() > SELECTOR_BYTES_MAX {
            return Err(InvalidTopic::Length.to_string());
        }
        let selector = match is_exact {
            true => TopicSelector::exact(topic),
            false => TopicSelector::parse(topic),
        };
        match selector {
            Ok(selector @ (TopicSelector::All | TopicSelector::Pattern(..))) => {
                if !self.selectors.contains(&selector) {
                    self.patterns.push(pattern(topic).map_err(|invalid| invalid.to_string())?);
                    self.selectors.push(selector);
                }
            }
            Ok(TopicSelector::Exact(_)) | Err(_) => {
                let channel = channel_of(topic).map_err(|invalid| invalid.to_string())?;
                if !self.channels.contains(&channel) {
                    self.channels.push(channel);
                }
            }
        }
        Ok(())
    }
}

/// A pattern of all channels that a URI template or `*` matches, and perhaps others: the session compares each with the
/// selector itself.
fn pattern(template: &str) -> Result<SubscriptionPattern, InvalidSubscriptionPattern> {
    if template == "*" {
        return SubscriptionPattern::of_parts("*", [vec![SubscriptionPart::Run(ByteClass::Any)]]);
    }
    let mut parts = Vec::new();
    for piece in template.split_inclusive(['{', '}']) {
        match piece.strip_suffix('}') {
            Some(expression) => {
                let is_variable = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let class = match expression.chars().all(is_variable) {
                    true => ByteClass::Unreserved,
                    false => ByteClass::Any,
                };
                parts.push(SubscriptionPart::Run(class));
            }
            None => match piece.strip_suffix('{').unwrap_or(piece) {
                "" => {}
                literal => parts.push(SubscriptionPart::Literal(literal)),
            },
        }
    }
    SubscriptionPattern::of_parts(template, [parts])
}

/// A value of a query that clients write as a form, where a plus sign is a space.
fn decoded(sent: &str) -> Option<String> {
    let spaced = sent.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// The id of the last event that the client received. A browser sends the header when it reconnects by itself; it is
/// newer than the parameter in the address.
fn last_id(routed: &RoutedRequest<'_>) -> Result<Option<String>, RequestRefused> {
    if let Some(value) = routed.headers.get("last-event-id") {
        return Ok(Some(String::from_utf8_lossy(value.as_bytes()).into_owned()));
    }
    for name in LAST_IDS {
        if let Some(text) = routed.query(name)? {
            return Ok(Some(text.into_owned()));
        }
    }
    Ok(None)
}
