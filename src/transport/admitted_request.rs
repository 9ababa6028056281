//! Requests of admitted connections: counted for their client, refused while the node drains, and traced.

use hyper::Request;

use super::addresses::AddressSlot;
use super::client::Peer;
use super::connection_refusal::ConnectionRefusal;
use super::public::Public;
use super::request;
use super::request_body::RequestBody;
use super::request_outcome::RequestOutcome;

/// Answers one request, of any version of HTTP. `admit`: applies the limits to it; what it returns lasts as long
/// as the session that the request starts.
pub async fn answer<T>(
    public: &Public,
    request: Request<RequestBody>,
    peer: Peer,
    admit: impl FnOnce(&Request<()>) -> Result<T, ConnectionRefusal>,
) -> (RequestOutcome, Option<T>) {
    let trace = request::begin_trace(&request);
    let (head, body) = request.into_parts();
    let request = Request::from_parts(head, ());
    let (answer, slot) = match admit(&request) {
        Ok(slot) => (request::answer(public, &request, body, peer).await, Some(slot)),
        Err(refusal) => (request::refuse(public, &request, peer, refusal), None),
    };
    // Checked again: a session that started before the drain began is among those that the drain closes, but
    // one that started after it is not.
    let answer = match public.check_phase() {
        Err(refusal) if answer.session().is_some() => {
            refusal.count(None);
            request::refuse(public, &request, peer, refusal)
        }
        _ => answer,
    };
    answer.end_trace(trace);
    (answer, slot)
}

impl Public {
    /// Counts the client of a request that came through a trusted proxy; other clients were counted when
    /// their connection was accepted. A short request is no handshake, because a client may send many on one
    /// connection to the proxy. Fails while the node drains.
    pub(super) fn admit_request(
        &self,
        peer: Peer,
        request: &Request<()>,
    ) -> Result<Option<AddressSlot>, ConnectionRefusal> {
        self.check_phase().inspect_err(|refusal| refusal.count(None))?;
        if !peer.is_proxy() {
            return Ok(None);
        }
        let client = peer.client_of(request.headers(), &self.server.get().trusted_proxies);
        let admitted = match request::is_short(request) {
            true => self.admission.enter_client(client),
            false => self.admission.admit_client(client),
        };
        admitted.inspect_err(|refusal| refusal.count(Some(client)))
    }
}
