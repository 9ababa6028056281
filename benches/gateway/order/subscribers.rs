//! Subscribers that record each channel's publications and check their order.

use std::time::Duration;

use anyhow::{Result, bail};
use serde::Deserialize;

use super::{
    CHANNELS, CHANNELS_EACH, JSON, Mark, PLAIN, PUBLICATIONS, PUBLISHERS, REPEATS, name_of,
};
use crate::client::Clients;
use crate::connection::Request;
use crate::json;
use crate::node::Node;

/// Subscribers of one protocol on one node, and what each has received on each channel.
pub struct Subscribers {
    clients: Clients,
    name: &'static str,
    channels_each: usize,
    parse: fn(&[u8]) -> serde_json::Result<Mark>,
    /// `channels_each` streams for each client, client by client.
    received: Vec<Vec<Mark>>,
}

impl Subscribers {
    pub fn plain(node: &Node) -> Result<Self> {
        let requests: Vec<Request> = (0..PLAIN)
            .map(|client| Request::Plain(format!("/ws/{}", name_of(channel_of(client, 1, 0)))))
            .collect();
        Ok(Self {
            clients: Clients::connected(node.address, &requests)?,
            name: "plain",
            channels_each: 1,
            parse: |message| serde_json::from_slice(message),
            received: vec![Vec::new(); PLAIN],
        })
    }

    pub fn json(node: &Node) -> Result<Self> {
        let mut clients = json::sessions(node.address, JSON)?;
        json::subscribe(&mut clients, |client| {
            (0..CHANNELS_EACH)
                .map(|which| name_of(channel_of(client, CHANNELS_EACH, which)))
                .collect()
        })?;
        Ok(Self {
            clients,
            name: "json",
            channels_each: CHANNELS_EACH,
            parse: |message| serde_json::from_slice::<Push>(message).map(|push| push.data),
            received: vec![Vec::new(); JSON * CHANNELS_EACH],
        })
    }

    pub fn turn(&mut self) -> Result<()> {
        let Self { clients, channels_each, parse, received, .. } = self;
        let mut stray = None;
        clients.turn(Duration::from_millis(1), |client, message| {
            let mark = parse(message).ok();
            let stream = mark.and_then(|mark| {
                (0..*channels_each)
                    .find(|&which| channel_of(client, *channels_each, which) == mark.channel)
            });
            match (mark, stream) {
                (Some(mark), Some(which)) => received[client * *channels_each + which].push(mark),
                _ => stray = Some(String::from_utf8_lossy(message).into_owned()),
            }
        })?;
        match stray {
            Some(message) => bail!("a {} subscriber received {message}", self.name),
            None => Ok(()),
        }
    }

    pub fn deliveries(&self) -> usize {
        self.received.iter().map(Vec::len).sum()
    }

    /// The number of deliveries that have not arrived.
    pub fn missing(&self) -> usize {
        const EACH: usize = PUBLICATIONS / CHANNELS;
        self.received.iter().map(|stream| EACH.saturating_sub(stream.len())).sum()
    }
}

/// A push to a json session; a plain subscriber receives only the `Mark`.
#[derive(Deserialize)]
struct Push {
    data: Mark,
}

/// The channel number `which` of a client that has `each` channels. Neighbouring clients share none.
fn channel_of(client: usize, each: usize, which: usize) -> usize {
    (client * each + which) % CHANNELS
}

/// The faults of the streams, one line for each faulty stream.
pub fn faults(subscribers: &[Subscribers]) -> Vec<String> {
    // The first subscriber of a channel sets the order that all others must have received.
    let orders = &subscribers[0].received[..CHANNELS];
    let mut faults = Vec::new();
    for subscribers in subscribers {
        for (number, stream) in subscribers.received.iter().enumerate() {
            let (client, which) =
                (number / subscribers.channels_each, number % subscribers.channels_each);
            let channel = channel_of(client, subscribers.channels_each, which);
            let fault = fault_within(stream).or_else(|| {
                (*stream != orders[channel]).then(|| "in another order than for others".into())
            });
            if let Some(fault) = fault {
                faults.push(format!(
                    "{} subscriber {client}, channel {channel}: {fault}",
                    subscribers.name
                ));
            }
        }
    }
    faults
}

/// Each publisher's numbers must be 0, 1, 2 and so on.
fn fault_within(stream: &[Mark]) -> Option<String> {
    let mut next = [0; 2 * PUBLISHERS];
    for mark in stream {
        match next.get_mut(mark.publisher) {
            Some(next) if *next == mark.number => *next += 1,
            Some(next) => {
                return Some(format!(
                    "publisher {}'s number {} instead of {next}",
                    mark.publisher, mark.number
                ));
            }
            None => return Some(format!("an unknown publisher {}", mark.publisher)),
        }
    }
    next.iter().any(|&count| count != REPEATS).then(|| format!("{next:?} of {REPEATS} each"))
}
