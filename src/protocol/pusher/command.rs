//! Reads the messages of clients.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::event::{NAME_BYTES_MAX, OF_CLIENT, payload};
use super::name::{INVALID, channel_of, is_cache, is_encrypted, is_presence, is_signed, user_of};
use super::session::PusherSession;
use super::signed;
use crate::apps::App;
use crate::close::Close;
use crate::protocol::json::readable::is_readable_json;
use crate::protocol::{Code, Command, DecodeError, Decoded, Grant, Id, ReplyError};
use crate::publication::{Channel, PayloadKind, Publication, ReplayStart};

/// The protocol has no ids of commands. These tell what an error is about.
pub const SUBSCRIBE: Id = Id::Number(1);
pub const SIGN_IN: Id = Id::Number(2);
pub const PUBLISH: Id = Id::Number(3);

/// What a new subscriber of a cache channel gets.
const LAST_EVENT: Option<ReplayStart> = Some(ReplayStart::Newest(1));

/// A message before validation. Unknown fields are ignored.
#[derive(Deserialize)]
struct RawEvent<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// The data of a subscription.
#[derive(Deserialize)]
struct SubscribeData {
    channel: String,
    auth: Option<String>,
    channel_data: Option<String>,
}

#[derive(Deserialize)]
struct UnsubscribeData {
    channel: String,
}

#[derive(Deserialize)]
struct SignInData {
    auth: Option<String>,
    user_data: String,
}

pub fn decode(session: &PusherSession, text: &[u8]) -> Decoded {
    let is_object = text.trim_ascii_start().starts_with(b"{");
    let Some(raw) = serde_json::from_slice::<RawEvent<'_>>(text).ok().filter(|_| is_object) else {
        return Err(bad_request(None, r#"a message is {"event":"…","data":…}"#));
    };
    match &*raw.event {
        "pusher:ping" => Ok(vec![Ok(Command::Ping { id: None })]),
        // The transport has counted it as a sign of life.
        "pusher:pong" => Ok(Vec::new()),
        "pusher:subscribe" => data(&raw, |data| subscribe(session, &data)),
        "pusher:unsubscribe" => data(&raw, |data| unsubscribe(session, &data)),
        "pusher:signin" => data(&raw, |data| sign_in(session, &data)),
        event if event.starts_with(OF_CLIENT) => client_event(session, &raw),
        _ => Err(bad_request(
            Some(PUBLISH),
            "event is one of pusher:subscribe, pusher:unsubscribe, pusher:signin, pusher:ping and pusher:pong, or \
             begins with client-",
        )),
    }
}

/// Reads the data of an event: an object, which some libraries write into a string.
fn data<T>(raw: &RawEvent<'_>, then: impl FnOnce(T) -> Decoded) -> Decoded
where
    T: DeserializeOwned,
{
    let json = raw.data.map(RawValue::get).unwrap_or_default();
    let inner = match json.starts_with('"') {
        true => serde_json::from_str::<String>(json).ok(),
        false => None,
    };
    let json = inner.as_deref().unwrap_or(json);
    let is_object = json.trim_ascii_start().starts_with('{');
    match serde_json::from_str(json).ok().filter(|_| is_object) {
        Some(read) => then(read),
        None => Err(bad_request(
            None,
            &format!("the data of {} is incomplete or has wrong types", raw.event),
        )),
    }
}

fn subscribe(session: &PusherSession, data: &SubscribeData) -> Decoded {
    let (app, channel) = app_and_channel(session, &data.channel)?;
    if session.has_requested(&channel) {
        let what = format!("existing subscription to channel {}", data.channel);
        return Err(bad_request(None, &what));
    }
    let grant = grant(session, app, data).map_err(|(code, message)| {
        let channel = Some(channel.to_string());
        DecodeError::Answer(ReplyError { id: Some(SUBSCRIBE), channel, code, message })
    })?;
    if let Some(grant) = &grant {
        session.request(&channel, grant.user.clone().filter(|_| grant.is_member));
    }
    let start = LAST_EVENT.filter(|_| is_cache(&data.channel));
    Ok(vec![Ok(Command::Subscribe { id: Some(SUBSCRIBE), channel, start, echo: false, grant })])
}

/// What the application has signed about the channel. None: it is open. Fails with the code and the reason.
fn grant(
    session: &PusherSession,
    app: &App,
    data: &SubscribeData,
) -> Result<Option<Box<Grant>>, (Code, String)> {
    let SubscribeData { channel, auth, channel_data } = data;
    let user = session.user();
    if let Some(of_user) = user_of(channel) {
        return match user {
            Some(user) if *user.id == *of_user => {
                Ok(Some(Box::new(Grant { user: Some(user.id), info: None, is_member: false })))
            }
            _ => Err((Code::Unauthorized, "the session has not signed in as this user".to_owned())),
        };
    }
    if !is_signed(channel) {
        return Ok(None);
    }
    let socket_id = session.socket_id();
    let signed = match channel_data {
        Some(data) => format!("{socket_id}:{channel}:{data}"),
        None => format!("{socket_id}:{channel}"),
    };
    signed::check(app, auth.as_deref(), &signed).map_err(|what| (Code::Unauthorized, what))?;
    let is_member = is_presence(channel);
    let (id, info) = match channel_data {
        Some(data) if is_member => {
            let member = signed::channel_data(data).map_err(|what| (Code::BadRequest, what))?;
            (Some(member.id), member.info)
        }
        _ => (user.as_ref().map(|user| user.id.clone()), user.and_then(|user| user.info)),
    };
    match is_member && id.is_none() {
        true => Err((Code::BadRequest, NO_MEMBER.to_owned())),
        false => Ok(Some(Box::new(Grant { user: id, info, is_member }))),
    }
}

const NO_MEMBER: &str =
    "a presence channel needs channel_data with a user_id, or a session that has signed in";

fn unsubscribe(session: &PusherSession, data: &UnsubscribeData) -> Decoded {
    let (_, channel) = app_and_channel(session, &data.channel)?;
    session.not_subscribed(channel.as_str());
    Ok(vec![Ok(Command::Unsubscribe { id: None, channel })])
}

fn sign_in(session: &PusherSession, data: &SignInData) -> Decoded {
    let app = session.app().ok_or(UNKNOWN)?;
    let SignInData { auth, user_data } = data;
    if session.has_user() {
        return Err(bad_request(Some(SIGN_IN), "the session has signed in already"));
    }
    let signed = format!("{}::user::{user_data}", session.socket_id());
    signed::check(app, auth.as_deref(), &signed).map_err(|_| {
        DecodeError::Close(Close::Unauthorized("the signature of user_data is not valid"))
    })?;
    let user = signed::user_data(user_data).map_err(|what| bad_request(Some(SIGN_IN), &what))?;
    // One application's user is not another's of the same id.
    let name = format!("{}{}", app.prefix, user.id).into();
    let info = user.info.clone();
    session.sign_in(user, user_data);
    Ok(vec![Ok(Command::SignIn { id: Some(SIGN_IN), user: name, info })])
}

/// An event of a client, on a channel to which it is subscribed by a signature.
fn client_event(session: &PusherSession, raw: &RawEvent<'_>) -> Decoded {
    let refuse = |what: &str| bad_request(Some(PUBLISH), what);
    let (Some(name), Some(data)) = (raw.channel.as_deref(), raw.data) else {
        return Err(refuse("an event of a client has channel and data"));
    };
    if raw.event.len() > NAME_BYTES_MAX {
        return Err(refuse("the name of an event has at most 200 bytes"));
    }
    let (_, channel) = app_and_channel(session, name)?;
    if is_encrypted(name) {
        return Err(refuse("clients send no events on encrypted channels"));
    }
    if !is_signed(name) {
        return Err(refuse("clients send events on private and presence channels only"));
    }
    if !session.is_subscribed(&channel) {
        return Err(refuse(&format!("the client is not subscribed to {name}")));
    }
    if !is_readable_json(data.get()) {
        return Err(refuse("data has a number, a character or a depth that parsers refuse"));
    }
    let publication = Publication::new(payload(&raw.event, data), PayloadKind::Text);
    Ok(vec![Ok(Command::Publish { id: Some(PUBLISH), channel, publication })])
}

const UNKNOWN: DecodeError = DecodeError::Close(Close::UnknownApp);

fn app_and_channel<'a>(
    session: &'a PusherSession,
    name: &str,
) -> Result<(&'a App, Channel), DecodeError> {
    let app = session.app().ok_or(UNKNOWN)?;
    let channel = channel_of(&app.prefix, name).ok_or_else(|| bad_request(None, INVALID))?;
    Ok((app, channel))
}

fn bad_request(id: Option<Id>, message: &str) -> DecodeError {
    let (channel, code, message) = (None, Code::BadRequest, message.to_owned());
    DecodeError::Answer(ReplyError { id, channel, code, message })
}
