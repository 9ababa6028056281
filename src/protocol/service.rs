//! What a service asks of a node with one HTTP request, and the answers.

use std::sync::Arc;

use crate::publication::{Channel, Members, Publication};

/// A request of a service, and how its answer is written.
pub struct ServiceCall {
    pub command: ServiceCommand,
    /// The body of the response.
    pub answer: fn(&ServiceReply) -> String,
}

/// What a service asks for.
#[derive(Debug)]
pub enum ServiceCommand {
    /// Publishes each, in their order.
    Publish(Vec<ServicePublication>),
    /// The channels that have subscribers and whose names begin with this.
    Channels {
        prefix: String,
        /// Which of them count, by what follows the prefix.
        is_counted: fn(&str) -> bool,
        counts: CountsWanted,
    },
    Channel {
        channel: Channel,
        counts: CountsWanted,
    },
    Members(Channel),
    /// Ends the user's sessions on all nodes.
    Disconnect(Arc<str>),
}

#[derive(Debug, PartialEq, Eq)]
pub struct ServicePublication {
    pub channel: Channel,
    pub publication: Publication,
    /// What the service wants to know of the channel.
    pub counts: CountsWanted,
}

/// Which counts of a channel a service asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountsWanted {
    pub members: bool,
    pub subscriptions: bool,
}

impl CountsWanted {
    pub fn any(self) -> bool {
        self.members || self.subscriptions
    }
}

/// What is known of a channel over all nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelCounts {
    pub channel: Channel,
    pub is_occupied: bool,
    /// Users. None: not asked for, or not known.
    pub members: Option<usize>,
    /// Sessions that are subscribed. None: not asked for, or not known.
    pub subscriptions: Option<usize>,
}

/// The answer to a command that was executed.
#[derive(Debug, PartialEq, Eq)]
pub enum ServiceReply {
    /// Of each publication in their order; None where the service asked for nothing.
    Published(Vec<Option<ChannelCounts>>),
    Channels(Vec<ChannelCounts>),
    Channel(ChannelCounts),
    Members(Members),
    Disconnected,
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub struct ServiceRefused {
    /// The status of the response.
    pub status: u16,
    pub message: String,
}

impl ServiceRefused {
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}
