//! Which sessions requests for WebSockets ask for.

use crate::close::Close;
use crate::http::Parameter;
use crate::protocol::{ai, json, mqtt, plain, pusher, stomp};
use crate::transport::request_refused::RequestRefused;
use crate::transport::routed_request::{RoutedRequest, SessionRequest};

pub fn json(_: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
    Ok(SessionRequest::new(json::Json))
}

pub fn ai_chat(_: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
    Ok(SessionRequest::new(ai::AiChat::default()))
}

pub fn mqtt(routed: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
    let protocol = mqtt::Mqtt::new(mqtt::Carrier::WebSocket, routed.session.message_bytes_max);
    Ok(SessionRequest::new(protocol))
}

pub fn stomp(routed: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
    let settings = stomp::StompSettings {
        frame_bytes_max: routed.session.message_bytes_max,
        subscriptions_max: routed.session.channels_max,
        ping_interval: routed.session.ping_interval,
    };
    Ok(SessionRequest::new(stomp::Stomp::new(settings)))
}

/// A client that names an unknown application or version is told by a close code, because it would try again for ever
/// after a refused upgrade.
pub fn pusher(routed: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
    if routed.apps.is_empty() {
        return Err(RequestRefused::no_apps());
    }
    let app = routed.variable.and_then(|key| routed.apps.of_key(key)).cloned();
    let version = routed.parameter("protocol")?.map(Parameter::whole_number);
    let is_spoken = |version: Option<usize>| {
        let version = version.and_then(|version| u32::try_from(version).ok());
        version.is_some_and(|version| pusher::VERSIONS.contains(&version))
    };
    let refused = match (&app, version) {
        (None, _) => Some(Close::UnknownApp),
        (_, Some(version)) if !is_spoken(version) => Some(Close::UnknownVersion),
        _ => None,
    };
    Ok(SessionRequest { refused, ..SessionRequest::new(pusher::Pusher::new(app)) })
}

pub fn plain(routed: &RoutedRequest<'_>) -> Result<SessionRequest, RequestRefused> {
    let traceparent = routed.traceparent().map(Box::new);
    let protocol = plain::Plain { channel: routed.channel()?, traceparent };
    let since = vec![routed.start()?];
    let closes_on_gap = match routed.query("gap")?.as_deref() {
        None => false,
        Some("close") => true,
        Some(_) => {
            return Err(RequestRefused::bad_request("gap must be `close` or absent"));
        }
    };
    let echo = routed.query("echo")?.is_none_or(|echo| echo != "false");
    Ok(SessionRequest { echo, since, closes_on_gap, ..SessionRequest::new(protocol) })
}
