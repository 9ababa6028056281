//! How requests read durable streams.

use hyper::{Method, Request};

use crate::http::{Parameter, Query};

/// How a request reads a durable stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamLive {
    /// It does not read, or what is there now.
    No,
    /// It waits for what is appended next.
    LongPoll,
    /// It gets an event for each message.
    Events,
}

impl StreamLive {
    /// Of a request to a path of streams.
    pub fn of<B>(request: &Request<B>) -> Self {
        let live = Query::new(request.uri().query()).first("live").map(Parameter::decoded_lossy);
        match live.as_deref() {
            Some("sse") if request.method() == Method::GET => Self::Events,
            Some("long-poll") if request.method() == Method::GET => Self::LongPoll,
            _ => Self::No,
        }
    }
}
