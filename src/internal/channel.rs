//! Channels in paths.

use percent_encoding::percent_decode_str;

use crate::publication::Channel;

/// The channel that a path names. Fails with the reason why it is not one.
pub fn of_path(name: &str) -> Result<Channel, String> {
    let name = percent_decode_str(name).decode_utf8();
    let name = name.map_err(|_| "a channel name must be UTF-8".to_owned())?;
    Channel::new(&name).map_err(|invalid| invalid.to_string())
}
