//! The names of channels. Pusher's have no colon, and the channel of an application's is what its prefix, which ends with
//! one, and the name make together: so a channel's name of Pusher's is what follows the last colon.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::publication::Channel;

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// What the name of a user's own channel begins with. The user's id follows.
const OF_USER: &str = "#server-to-user-";

/// What of a user's id is not percent-encoded in the name of the user's channel.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'=')
    .remove(b'@')
    .remove(b',')
    .remove(b'.')
    .remove(b';');

pub const INVALID: &str =
    "a channel's name is 1 to 200 letters, digits and _ - = @ , . ; without others";

/// The channel of a name. `prefix`: the application's. None: the name is not valid.
pub fn channel_of(prefix: &str, name: &str) -> Option<Channel> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-=@,.;".contains(&byte);
    let name: Cow<'_, str> = match user_of(name) {
        Some(user) => format!("{OF_USER}{}", utf8_percent_encode(user, PLAIN)).into(),
        None if name.len() <= NAME_BYTES_MAX && name.bytes().all(is_plain) => name.into(),
        None => return None,
    };
    let channel = Channel::new(&format!("{prefix}{name}")).ok();
    channel.filter(|_| !name.is_empty())
}

/// The name of a channel.
pub fn name_of(channel: &str) -> Cow<'_, str> {
    let name = channel.rsplit_once(':').map_or(channel, |(_, name)| name);
    match user_of(name) {
        Some(user) if user.contains('%') => {
            format!("{OF_USER}{}", percent_decode_str(user).decode_utf8_lossy()).into()
        }
        _ => name.into(),
    }
}

/// The user whose own channel has this name.
pub fn user_of(name: &str) -> Option<&str> {
    name.strip_prefix(OF_USER).filter(|user| !user.is_empty())
}

/// Whether its subscribers are each other's members.
pub fn is_presence(name: &str) -> bool {
    name.starts_with("presence-")
}

/// Whether a session needs a signature to subscribe.
pub fn is_signed(name: &str) -> bool {
    name.starts_with("private-") || is_presence(name)
}

/// Whether events are encrypted by the application, so that clients send none.
pub fn is_encrypted(name: &str) -> bool {
    name.starts_with("private-encrypted-")
}

/// Whether a new subscriber gets the channel's last event.
pub fn is_cache(name: &str) -> bool {
    const KINDS: [&str; 4] =
        ["cache-", "private-cache-", "private-encrypted-cache-", "presence-cache-"];
    KINDS.iter().any(|kind| name.starts_with(kind))
}
