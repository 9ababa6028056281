//! The commands about patterns.

use std::sync::Arc;

use super::raw_command::RawCommand;
use crate::protocol::{Command, ReplyError};
use crate::rules::SubscriptionPattern;

/// The commands of a message, or what is wrong with it.
type PatternCommands = Result<Vec<Result<Command, ReplyError>>, String>;

/// The command that subscribes to `pattern`.
pub fn subscribe(raw: &RawCommand<'_>) -> PatternCommands {
    if raw.since.is_some() || raw.last.is_some() {
        return Err(
            "a pattern has no since and no last: resume its channels with `channels`, then \
            subscribe to the pattern"
                .to_owned(),
        );
    }
    let pattern = only(raw)?;
    let pattern = SubscriptionPattern::parse(pattern).map_err(|error| error.to_string())?;
    let echo = raw.echo.unwrap_or(true);
    Ok(vec![Ok(Command::SubscribePattern { id: raw.id(), pattern: Arc::new(pattern), echo })])
}

/// The command that unsubscribes from `pattern`.
pub fn unsubscribe(raw: &RawCommand<'_>) -> PatternCommands {
    let pattern = only(raw)?.to_owned();
    Ok(vec![Ok(Command::UnsubscribePattern { id: raw.id(), pattern })])
}

/// The pattern, without a channel beside it.
fn only<'a>(raw: &'a RawCommand<'_>) -> Result<&'a str, String> {
    match raw.channel.is_some() || raw.channels.is_some() {
        true => Err("give one of channel, channels and pattern".to_owned()),
        false => Ok(raw.pattern.as_deref().unwrap_or_default()),
    }
}
