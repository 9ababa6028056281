//! The requests of clients that are answered with one response, and their labels.

use hyper::StatusCode;

/// A request that is answered with one response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShortRequest {
    Publish,
    History,
    Presence,
    Poll,
    Stream,
    /// Of a service, by the API of its application.
    Service,
}

impl ShortRequest {
    pub const EACH: [Self; 6] =
        [Self::Publish, Self::History, Self::Presence, Self::Poll, Self::Stream, Self::Service];
    pub const COUNT: usize = Self::EACH.len();

    /// The value of the `request` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::History => "history",
            Self::Presence => "presence",
            Self::Poll => "poll",
            Self::Stream => "stream",
            Self::Service => "service",
        }
    }

    /// The status of a successful response.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Publish => StatusCode::ACCEPTED,
            Self::History | Self::Presence | Self::Poll | Self::Stream | Self::Service => {
                StatusCode::OK
            }
        }
    }
}

/// The classes of statuses that occur, as values of the `status` label.
pub(super) const STATUS_CLASSES: [&str; 3] = ["2xx", "4xx", "5xx"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_short_request_has_its_own_index_and_label() {
        for (place, request) in ShortRequest::EACH.into_iter().enumerate() {
            assert_eq!(request as usize, place);
        }
        let labels: std::collections::HashSet<_> =
            ShortRequest::EACH.map(ShortRequest::label).into();
        assert_eq!(labels.len(), ShortRequest::COUNT);
    }
}
