//! Which private updates a client may read.

use std::fmt;
use std::sync::Arc;

/// Says whether a client may read a private update about a topic. Cheap to clone.
#[derive(Clone)]
pub struct PrivateReader {
    may_read: TopicCheck,
    may_follow: TopicCheck,
}

type TopicCheck = Arc<dyn Fn(&str) -> bool + Send + Sync>;

impl PrivateReader {
    /// `may_read`: whether the client may read the private updates of this channel. Called when an update is written.
    /// `may_follow`: whether it gets the channel by a selector that matches it.
    pub fn new(
        may_read: impl Fn(&str) -> bool + Send + Sync + 'static,
        may_follow: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { may_read: Arc::new(may_read), may_follow: Arc::new(may_follow) }
    }

    pub fn may_follow(&self, topic: &str) -> bool {
        (self.may_follow)(topic)
    }

    /// Whether the client may read an update about these topics.
    pub fn may_read<'a>(&self, mut topics: impl Iterator<Item = &'a str>) -> bool {
        topics.any(|topic| (self.may_read)(topic))
    }
}

impl fmt::Debug for PrivateReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateReader")
    }
}

impl PartialEq for PrivateReader {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.may_read, &other.may_read)
    }
}

impl Eq for PrivateReader {}
