//! The response to a request for a stream, by what became of its session.

use hyper::Version;

use super::request_outcome::RequestOutcome;
use super::request_refused::RequestRefused;
use super::response;
use super::routed_request::has_chunks;
use super::routes::Transport;
use crate::close::Close;
use crate::session::Session;

/// The streamed response. If the session has ended at its start, a status can still report it; but a browser
/// never reconnects after an error status, so it gets a temporary reason at the end of the stream instead.
pub fn stream(session: Box<Session>, transport: Transport, version: Version) -> RequestOutcome {
    let Transport::Response { content_type, header, client_reconnects } = transport else {
        return RequestRefused::of_close(Close::Internal).into();
    };
    let accepted = |session| {
        let is_chunked = !client_reconnects && has_chunks(version);
        RequestOutcome::Stream(response::accept(content_type, header, is_chunked), session)
    };
    match session.outbound().closing() {
        Some(Close::NoRun) => RequestOutcome::Response(response::no_content()),
        // The whole stream is queued, its end too.
        Some(Close::Ended { is_told: true }) | None => accepted(session),
        Some(close) if !client_reconnects || !close.is_temporary() => {
            let refused = RequestRefused::of_close(close);
            RequestOutcome::Response(match session.denied_channel() {
                Some(channel) => refused.naming(channel.as_str()).into(),
                None => refused.into(),
            })
        }
        Some(_) => accepted(session),
    }
}
