//! The state of a connection's end. It only advances, from one variant to a later one.

use crate::close::Close;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    #[default]
    Open,
    /// The session is asked to end for this reason, after it has answered the commands in flight.
    Asked(Close),
    /// The connection ends for this reason: no frame is queued any more.
    Closing(Close),
}

impl End {
    /// Returns false if it was asked before or is closing.
    pub fn ask(&mut self, close: Close) -> bool {
        let is_first = !self.has_begun();
        if is_first {
            *self = Self::Asked(close);
        }
        is_first
    }

    /// Returns false if it is closing already; the first reason counts.
    pub fn close(&mut self, close: Close) -> bool {
        let is_first = !self.is_closing();
        if is_first {
            *self = Self::Closing(close);
        }
        is_first
    }

    pub fn asked(self) -> Option<Close> {
        match self {
            Self::Asked(close) => Some(close),
            Self::Open | Self::Closing(_) => None,
        }
    }

    pub fn closing(self) -> Option<Close> {
        match self {
            Self::Closing(close) => Some(close),
            Self::Open | Self::Asked(_) => None,
        }
    }

    pub fn is_closing(&self) -> bool {
        matches!(self, Self::Closing(_))
    }

    pub fn has_begun(&self) -> bool {
        !matches!(self, Self::Open)
    }
}
