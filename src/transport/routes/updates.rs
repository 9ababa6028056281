//! Which sessions requests about topics ask for.

use crate::protocol::mercure::{
    self, FollowedTopics, FormRefused, LastId, Mercure, PrivateReader, TOPICS_MAX, Update,
};
use crate::publication::Channel;
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
pub struct TopicsRequest {
    followed: FollowedTopics,
    /// The id of the last event, as the client sent it.
    last_id: Option<String>,
}

impl TopicsRequest {
    /// `keeps_history`: whether the rule of a channel keeps any. `may_read`: whether the client may read private updates of
    /// a channel.
    pub fn read(
        routed: &RoutedRequest<'_>,
        keeps_history: impl Fn(&Channel) -> bool,
        may_read: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Result<Self, RequestRefused> {
        let channels = channels(routed)?;
        let last_id = last_id(routed)?;
        let start = last_id.as_deref().map(|text| LastId::read(&channels, text));
        let reader = PrivateReader::new(may_read);
        let followed = FollowedTopics::new(channels, start.as_ref(), keeps_history, reader);
        Ok(Self { followed, last_id })
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
        (!lost.is_empty()).then(|| Self { followed: followed(), last_id: self.last_id.clone() })
    }

    /// The id before the first event that the client gets. None: it has not asked for the past.
    pub fn id_before(&self) -> Option<&str> {
        let requested = self.last_id.as_deref()?;
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

/// Each topic of the query, once: at most as many as a session may have channels.
fn channels(routed: &RoutedRequest<'_>) -> Result<Vec<Channel>, RequestRefused> {
    let most = TOPICS_MAX.min(routed.session.channels_max);
    let mut channels: Vec<Channel> = Vec::new();
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
        let channel = channel(&topic, is_exact).map_err(|what| {
            RequestRefused::bad_request(format!("{name}: {what}")).naming(&topic)
        })?;
        if channels.contains(&channel) {
            continue;
        }
        if channels.len() == most {
            let what = format!("{name}: at most {most} topics per connection");
            return Err(RequestRefused::bad_request(what));
        }
        channels.push(channel);
    }
    match channels.is_empty() {
        true => Err(RequestRefused::bad_request(
            "the query must name a topic: ?topic=https%3A%2F%2Fexample.com%2Fbooks%2F1, also several times",
        )),
        false => Ok(channels),
    }
}

fn unknown_matcher() -> RequestRefused {
    RequestRefused::bad_request(
        "the parameters that begin with match are match and match_exact, each with one topic; URL patterns are not offered",
    )
}

/// The channel of a topic. Fails with what is wrong with it.
fn channel(topic: &str, is_exact: bool) -> Result<Channel, String> {
    const NO_PATTERNS: &str = "this node follows topics by name: * and URI templates are not offered here, but in \
        tokens they are";
    if topic == "*" {
        return Err(NO_PATTERNS.to_owned());
    }
    if topic.len() > SELECTOR_BYTES_MAX {
        return Err(InvalidTopic::Length.to_string());
    }
    let is_template = || matches!(TopicSelector::parse(topic), Ok(TopicSelector::Pattern(..)));
    if !is_exact && is_template() {
        return Err(NO_PATTERNS.to_owned());
    }
    channel_of(topic).map_err(|invalid| invalid.to_string())
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
