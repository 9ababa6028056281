//! Which private updates a client may read.

use std::fmt;
use std::sync::Arc;

/// Says whether a client may read a private update about a topic. Cheap to clone.
#[derive(Clone)]
pub struct PrivateReader(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl PrivateReader {
    /// `may_read`: whether the client may read the private updates of this channel. Called when an update is written.
    pub fn new(may_read: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(may_read))
    }

    /// Whether the client may read an update about these topics.
    pub fn may_read<'a>(&self, mut topics: impl Iterator<Item = &'a str>) -> bool {
        topics.any(|topic| (self.0)(topic))
    }
}

impl fmt::Debug for PrivateReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateReader")
    }
}

impl PartialEq for PrivateReader {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for PrivateReader {}
