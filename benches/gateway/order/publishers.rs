//! Publishers that number their publications.

use std::time::Duration;

use anyhow::{Result, bail};

use super::{CHANNELS, PUBLISHERS, REPEATS, name_of};
use crate::client::Clients;
use crate::json;
use crate::node::Node;

/// Publications of each publisher in flight at a time.
const WINDOW: u64 = 64;

/// The publishing sessions of one node.
pub struct Publishers {
    clients: Clients,
    /// The number of the first session among the publishers of all nodes.
    first: usize,
    published: Vec<u64>,
    acknowledged: Vec<u64>,
}

impl Publishers {
    const EACH: u64 = (REPEATS * CHANNELS) as u64;

    pub fn new(node: &Node, first: usize) -> Result<Self> {
        Ok(Self {
            clients: json::sessions(node.address, PUBLISHERS)?,
            first,
            published: vec![0; PUBLISHERS],
            acknowledged: vec![0; PUBLISHERS],
        })
    }

    pub fn turn(&mut self) -> Result<()> {
        for session in 0..PUBLISHERS {
            let publisher = self.first + session;
            while self.published[session] < Self::EACH
                && self.published[session] - self.acknowledged[session] < WINDOW
            {
                let id = self.published[session];
                let (number, channel) = (id as usize / CHANNELS, id as usize % CHANNELS);
                let message = format!(
                    r#"{{"type":"publish","id":{id},"channel":"{}","data":{{"publisher":{publisher},"channel":{channel},"number":{number}}}}}"#,
                    name_of(channel)
                );
                self.clients.push(session, message.as_bytes());
                self.published[session] += 1;
            }
            self.clients.flush(session)?;
        }
        let mut refused = None;
        let acknowledged = &mut self.acknowledged;
        self.clients.turn(Duration::ZERO, |session, answer| {
            if json::is(answer, "published") {
                acknowledged[session] += 1;
            } else {
                refused = Some(String::from_utf8_lossy(answer).into_owned());
            }
        })?;
        match refused {
            Some(answer) => bail!("a publication was answered by {answer}"),
            None => Ok(()),
        }
    }

    pub fn done(&self) -> bool {
        self.acknowledged.iter().all(|&count| count == Self::EACH)
    }
}
