//! The part of the json protocol that the measurements use.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::client::{Clients, Progress};
use crate::connection::Request;

/// Connects `count` json sessions and discards their welcomes.
pub fn sessions(to: SocketAddr, count: usize) -> Result<Clients> {
    let mut clients = Clients::connected(to, &vec![Request::Json; count])?;
    clients.discard_until_quiet()?;
    Ok(clients)
}

/// Subscribes each session to the channels that `channels_of` returns for it, and waits for all answers.
pub fn subscribe(
    clients: &mut Clients,
    mut channels_of: impl FnMut(usize) -> Vec<String>,
) -> Result<()> {
    let mut wanted = 0;
    for session in 0..clients.len() {
        let channels = channels_of(session);
        wanted += channels.len();
        let channels: Vec<String> =
            channels.iter().map(|channel| format!(r#""{channel}":null"#)).collect();
        let command =
            format!(r#"{{"type":"subscribe","id":1,"channels":{{{}}}}}"#, channels.join(","));
        clients.push(session, command.as_bytes());
        clients.flush(session)?;
    }
    let (mut subscribed, mut refused) = (0, None);
    let mut progress = Progress::new();
    while subscribed < wanted {
        clients.turn(Duration::from_millis(10), |_, answer| {
            if is(answer, "subscribed") {
                subscribed += 1;
            } else {
                refused = Some(String::from_utf8_lossy(answer).into_owned());
            }
        })?;
        if let Some(answer) = refused {
            bail!("a subscription was answered by {answer}");
        }
        progress
            .record(subscribed as u64)
            .with_context(|| format!("{subscribed} of {wanted} subscribed"))?;
    }
    Ok(())
}

/// Whether a message has this type. Searches without parsing: a node writes the type without spaces and near the start,
/// and a node that did otherwise would fail the measurement, not improve its result.
#[inline]
pub fn is(message: &[u8], kind: &str) -> bool {
    const KEY: &[u8] = br#""type":""#;
    message.windows(KEY.len()).position(|part| part == KEY).is_some_and(|position| {
        let rest = &message[position + KEY.len()..];
        rest.starts_with(kind.as_bytes()) && rest.get(kind.len()) == Some(&b'"')
    })
}
