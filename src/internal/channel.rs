//! Channels as paths name them.

use percent_encoding::percent_decode_str;

use crate::publication::Channel;

/// A channel as a path names it; or why that is none.
pub fn of_path(name: &str) -> Result<Channel, String> {
    let name = percent_decode_str(name).decode_utf8();
    let name = name.map_err(|_| "a channel name is UTF-8".to_owned())?;
    Channel::new(&name).map_err(|invalid| invalid.to_string())
}
