//! Pusher's HTTP API: which request a path is, what its body says, and the answers.

mod answer;
mod signature;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use self::answer::{batch, channel, channels, done, events, users};
use self::signature::SignedQuery;
use super::event::{is_name, payload};
use super::name::{INVALID, channel_of, is_encrypted, is_presence, name_of};
use super::session::session_of;
use crate::apps::{App, Apps};
use crate::protocol::{
    CountsWanted, ServiceCall, ServiceCommand, ServicePublication, ServiceRefused,
};
use crate::publication::{Channel, PayloadKind, Publication, SessionId};

/// The most channels of one event, and events of one batch.
const CHANNELS_MAX: usize = 100;
const BATCH_MAX: usize = 10;

/// Most bytes of a body besides the data of its events: names, channels and the JSON around them.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// How much longer than the payload an event's data may be in the body, where quotes and line ends are escaped.
const ESCAPED: usize = 2;

/// A request whose signature is valid; the signature covers the body by its MD5.
pub struct SignedRequest {
    app: Arc<App>,
    kind: ApiRequestKind,
    body_md5: Option<String>,
    counts: CountsWanted,
    /// `filter_by_prefix`.
    prefix: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ApiRequestKind {
    Events,
    Batch,
    Channels,
    Channel(Channel),
    Users(Channel),
    Terminate(Arc<str>),
}

impl SignedRequest {
    /// Checks the request without its body. `rest`: what follows `/apps/` in the path, percent-encoded. `query`: names and
    /// values, percent-decoded.
    pub fn check<'a>(
        apps: &Apps,
        method: &str,
        rest: &str,
        query: impl Iterator<Item = (&'a str, Cow<'a, str>)>,
        now_seconds: u64,
    ) -> Result<Self, ServiceRefused> {
        let (id, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let app = apps.of_id(id).ok_or_else(|| ServiceRefused::new(404, "unknown app id"))?;
        let signed = SignedQuery::read(query)?;
        signed.check(app, method, &format!("/apps/{id}/{rest}"), now_seconds)?;
        let (kind, of_method) = kind(app, rest)?;
        if method != of_method {
            return Err(ServiceRefused::new(405, format!("this path takes {of_method}")));
        }
        let (counts, prefix) = (counts(signed.value("info"))?, signed.value("filter_by_prefix"));
        let prefix = prefix.unwrap_or_default().to_owned();
        let is_of_members = match &kind {
            ApiRequestKind::Channels => is_presence(&prefix),
            ApiRequestKind::Channel(channel) => is_presence(&name_of(channel.as_str())),
            _ => true,
        };
        if counts.members && !is_of_members {
            return Err(ServiceRefused::new(
                400,
                "user_count is of presence channels only: filter_by_prefix is presence-",
            ));
        }
        let body_md5 = signed.value("body_md5").map(str::to_owned);
        Ok(Self { app: app.clone(), kind, body_md5, counts, prefix })
    }

    /// Most bytes of the body. `bytes_max`: of a message.
    pub fn body_bytes_max(&self, bytes_max: usize) -> usize {
        let events = match self.kind {
            ApiRequestKind::Events => 1,
            ApiRequestKind::Batch => BATCH_MAX,
            _ => return HEAD_BYTES_MAX,
        };
        HEAD_BYTES_MAX.saturating_add(bytes_max.saturating_mul(ESCAPED * events))
    }

    /// Reads the body. `bytes_max`: of an event's data.
    pub fn read(self, body: &[u8], bytes_max: usize) -> Result<ServiceCall, ServiceRefused> {
        signature::check_body(self.body_md5.as_deref(), body)?;
        let Self { app, kind, counts, prefix, .. } = self;
        let call = |command, answer| Ok(ServiceCall { command, answer });
        match kind {
            ApiRequestKind::Events => {
                let event: EventBody<'_> = parse(body)?;
                call(ServiceCommand::Publish(event.publications(&app, bytes_max)?), events)
            }
            ApiRequestKind::Batch => {
                let BatchBody { batch: all } = parse(body)?;
                if all.len() > BATCH_MAX {
                    return Err(ServiceRefused::new(
                        400,
                        format!("a batch has at most {BATCH_MAX} events"),
                    ));
                }
                let mut publications = Vec::with_capacity(all.len());
                for event in all {
                    publications.extend(event.publications(&app, bytes_max)?);
                }
                call(ServiceCommand::Publish(publications), batch)
            }
            ApiRequestKind::Channels => {
                let prefix = format!("{}{prefix}", app.prefix);
                // Others are not of this application.
                let is_counted = |channel: &str| !channel.contains(':');
                call(ServiceCommand::Channels { prefix, is_counted, counts }, channels)
            }
            ApiRequestKind::Channel(name) => {
                call(ServiceCommand::Channel { channel: name, counts }, channel)
            }
            ApiRequestKind::Users(channel) => call(ServiceCommand::Members(channel), users),
            ApiRequestKind::Terminate(user) => call(ServiceCommand::Disconnect(user), done),
        }
    }
}

/// The request of a path behind the application's id, and its method.
fn kind(app: &App, rest: &str) -> Result<(ApiRequestKind, &'static str), ServiceRefused> {
    let parts: Vec<&str> = rest.split('/').collect();
    let decoded = |part: &str| {
        let text = percent_encoding::percent_decode_str(part).decode_utf8();
        text.map(Cow::into_owned).map_err(|_| ServiceRefused::new(400, "the path is not UTF-8"))
    };
    let of_channel = |part: &str| {
        let name = decoded(part)?;
        channel_of(&app.prefix, &name).ok_or_else(|| ServiceRefused::new(400, INVALID))
    };
    Ok(match parts[..] {
        ["events"] => (ApiRequestKind::Events, "POST"),
        ["batch_events"] => (ApiRequestKind::Batch, "POST"),
        ["channels"] => (ApiRequestKind::Channels, "GET"),
        ["channels", name] => (ApiRequestKind::Channel(of_channel(name)?), "GET"),
        ["channels", name, "users"] => {
            let channel = of_channel(name)?;
            if !is_presence(&name_of(channel.as_str())) {
                return Err(ServiceRefused::new(400, "users are of presence channels only"));
            }
            (ApiRequestKind::Users(channel), "GET")
        }
        ["users", user, "terminate_connections"] => {
            let user = decoded(user)?;
            (ApiRequestKind::Terminate(format!("{}{user}", app.prefix).into()), "POST")
        }
        _ => {
            return Err(ServiceRefused::new(
                404,
                "there are events, batch_events, channels, channels/NAME, channels/NAME/users and \
            users/ID/terminate_connections",
            ));
        }
    })
}

/// Reads the attributes that `info` lists.
fn counts(info: Option<&str>) -> Result<CountsWanted, ServiceRefused> {
    let mut counts = CountsWanted::default();
    for attribute in info.into_iter().flat_map(|info| info.split(',')).filter(|it| !it.is_empty()) {
        match attribute {
            "user_count" => counts.members = true,
            "subscription_count" => counts.subscriptions = true,
            "cache" => {}
            _ => {
                return Err(ServiceRefused::new(
                    400,
                    "info lists user_count and subscription_count",
                ));
            }
        }
    }
    Ok(counts)
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ServiceRefused> {
    serde_json::from_slice(body).map_err(|_| {
        ServiceRefused::new(400, "the body is not JSON with name, data and channels or channel, or with a batch of such events")
    })
}

#[derive(Deserialize)]
struct BatchBody<'a> {
    #[serde(borrow)]
    batch: Vec<EventBody<'a>>,
}

#[derive(Deserialize)]
struct EventBody<'a> {
    name: String,
    #[serde(borrow)]
    data: &'a RawValue,
    channels: Option<Vec<String>>,
    channel: Option<String>,
    socket_id: Option<String>,
    info: Option<String>,
}

impl EventBody<'_> {
    fn publications(
        &self,
        app: &App,
        bytes_max: usize,
    ) -> Result<Vec<ServicePublication>, ServiceRefused> {
        let refuse = |what: &str| ServiceRefused::new(400, what);
        let names = match (&self.channels, &self.channel) {
            (Some(names), None) => names.iter().collect::<Vec<_>>(),
            (None, Some(name)) => vec![name],
            _ => return Err(refuse("give either channels or channel")),
        };
        if !(1..=CHANNELS_MAX).contains(&names.len()) {
            return Err(refuse("an event has 1 to 100 channels"));
        }
        if !is_name(&self.name) {
            return Err(refuse(
                "the name of an event is 1 to 200 bytes and does not begin with pusher: or pusher_internal:",
            ));
        }
        if names.len() > 1 && names.iter().any(|name| is_encrypted(name)) {
            return Err(refuse("an event on an encrypted channel has no other channel"));
        }
        let session = self.excluded()?;
        let counts = counts(self.info.as_deref())?;
        let payload = payload(&self.name, self.data);
        if payload.len() > bytes_max {
            let what =
                format!("the event has more than session.message_bytes_max = {bytes_max} bytes");
            return Err(ServiceRefused::new(413, what));
        }
        let publication = |name: &&String| {
            let channel = channel_of(&app.prefix, name);
            let channel = channel.ok_or_else(|| ServiceRefused::new(400, INVALID))?;
            Ok(ServicePublication {
                channel,
                publication: publication(payload.clone(), session),
                counts,
            })
        };
        names.iter().map(publication).collect()
    }

    /// The session that does not get the event.
    fn excluded(&self) -> Result<Option<SessionId>, ServiceRefused> {
        let Some(socket_id) = self.socket_id.as_deref().filter(|id| !id.is_empty()) else {
            return Ok(None);
        };
        let session = session_of(socket_id);
        session.map(Some).ok_or_else(|| {
            ServiceRefused::new(
                400,
                "socket_id is none of this server's: it is two numbers joined by a dot",
            )
        })
    }
}

/// The hub leaves out the session that counts as the publisher's.
fn publication(payload: Bytes, session: Option<SessionId>) -> Publication {
    Publication { session, ..Publication::new(payload, PayloadKind::Text) }
}
