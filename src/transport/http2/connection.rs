//! What the streams of one HTTP/2 connection share: how they count for the limits, and when the connection ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hyper::Request;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::limits::Bucket;
use crate::session::Config;
use crate::telemetry::{self, Rejected};
use crate::transport::addresses::AddressSlot;
use crate::transport::admission::AdmissionSlot;
use crate::transport::admitted_connection::AdmittedConnection;
use crate::transport::client::Peer;
use crate::transport::connection_refusal::ConnectionRefusal;
use crate::transport::public::Public;
use crate::transport::request;
use crate::transport::request_deadline::KEEP_ALIVE_TIMEOUT;

/// How long a connection may stay without a request or a session once the node has told the client that it
/// ends; [`KEEP_ALIVE_TIMEOUT`] until then.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Most requests a second that the client may reset before they are answered, with bursts of as many: a page
/// that is closed resets all of its requests at once.
const RESETS_PER_SECOND_MAX: usize = 200;

/// Whether a connection may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    Alive,
    Dead,
}

/// One connection.
pub struct Http2Connection {
    public: Arc<Public>,
    peer: Peer,
    leave: Notify,
    /// Whether bytes have arrived since the last look.
    received: AtomicBool,
    state: Mutex<Http2State>,
}

struct Http2State {
    /// Requests that are being answered, and sessions.
    running: usize,
    /// When the connection ends if nothing is running then.
    idle_until: Instant,
    is_leaving: bool,
    /// Whether a request has arrived.
    is_used: bool,
    /// The connection's own slots, while no session uses them: so a connection with one session counts once.
    spare: Option<SessionSlots>,
    /// Whether the handshake of the connection is still to be used by a session.
    has_handshake: bool,
    resets: Bucket,
    resets_too_often: bool,
}

/// One counted connection of the node, and of its address.
struct SessionSlots {
    _admission: AdmissionSlot,
    _address: Option<AddressSlot>,
}

/// A request that is being answered, or the session that it has started. The drop releases what it counts for.
pub struct RunningStream {
    connection: Arc<Http2Connection>,
    slots: Option<SessionSlots>,
    /// Counts the client that a trusted proxy names.
    forwarded: Option<AddressSlot>,
}

impl Http2Connection {
    pub fn new(public: Arc<Public>, admitted: AdmittedConnection) -> Arc<Self> {
        let AdmittedConnection { peer, slot, address_slot, deadline, .. } = admitted;
        let state = Http2State {
            running: 0,
            idle_until: deadline,
            is_leaving: false,
            is_used: false,
            spare: Some(SessionSlots { _admission: slot, _address: address_slot }),
            has_handshake: true,
            resets: Bucket::full(RESETS_PER_SECOND_MAX, Instant::now()),
            resets_too_often: false,
        };
        let (leave, received) = (Notify::new(), AtomicBool::new(false));
        Arc::new(Self { public, peer, leave, received, state: Mutex::new(state) })
    }

    pub fn public(&self) -> &Public {
        &self.public
    }

    pub fn peer(&self) -> Peer {
        self.peer
    }

    pub fn session_config(&self) -> Arc<Config> {
        self.public.context.config.clone()
    }

    fn state(&self) -> MutexGuard<'_, Http2State> {
        self.state.lock().expect("no code panics while it holds the lock")
    }

    /// Counts a new request. None: too many are running. `http2_streams_max` bounds them too, because the client
    /// may reset a stream and open the next one before the task of the first has ended.
    pub fn begin(self: &Arc<Self>) -> Option<RunningStream> {
        let streams_max = self.public.server.get().http2_streams_max;
        let mut state = self.state();
        state.is_used = true;
        if state.running >= streams_max {
            return None;
        }
        state.running += 1;
        Some(RunningStream { connection: self.clone(), slots: None, forwarded: None })
    }

    /// Makes the client use another connection for further requests.
    pub fn leave(&self) {
        self.leave.notify_one();
    }

    /// Waits until the connection has to end.
    pub async fn leaving(&self) {
        tokio::select! {
            () = self.leave.notified() => {}
            () = self.public.draining() => {}
        }
        let mut state = self.state();
        state.is_leaving = true;
        state.idle_until = Instant::now() + LEAVE_TIMEOUT;
    }

    pub fn set_received(&self) {
        self.received.store(true, Ordering::Relaxed);
    }

    /// Whether bytes have arrived since the last call.
    pub fn take_received(&self) -> bool {
        self.received.swap(false, Ordering::Relaxed)
    }

    /// Counts a request that the client has reset before it was answered.
    pub fn count_reset(&self) {
        let mut state = self.state();
        let in_rate = state.resets.take(1, RESETS_PER_SECOND_MAX, Instant::now());
        state.resets_too_often |= !in_rate;
    }

    /// Whether the client resets more requests than it may. True once.
    pub fn resets_too_often(&self) -> bool {
        std::mem::take(&mut self.state().resets_too_often)
    }

    /// When to call [`Http2Connection::check_idle`] next, at the latest at `next`.
    pub fn check_at(&self, next: Instant) -> Instant {
        let state = self.state();
        let idle_until = match state.running {
            0 => state.idle_until,
            _ => Instant::now() + KEEP_ALIVE_TIMEOUT,
        };
        next.min(idle_until)
    }

    /// Begins to end a connection that has been idle too long. [`Liveness::Dead`]: it has had the time for it.
    pub fn check_idle(&self, now: Instant) -> Liveness {
        let mut state = self.state();
        if state.running > 0 || now < state.idle_until {
            return Liveness::Alive;
        }
        if !state.is_used {
            telemetry::rejected(Rejected::Handshake, &"no request in time");
        }
        if state.is_leaving || !state.is_used {
            return Liveness::Dead;
        }
        state.idle_until = now + LEAVE_TIMEOUT;
        drop(state);
        self.leave();
        Liveness::Alive
    }

    /// Takes the slots of one more session. The first one uses those of the connection.
    fn session_slots(&self, is_handshake: bool) -> Result<SessionSlots, ConnectionRefusal> {
        let admission = &self.public.admission;
        let client = self.peer.client();
        let (spare, pays) = {
            let mut state = self.state();
            let pays = is_handshake && !std::mem::take(&mut state.has_handshake);
            (state.spare.take(), pays)
        };
        let slots = match spare {
            Some(spare) => spare,
            None => SessionSlots {
                _admission: admission.admit()?,
                _address: client.map(|it| admission.enter_client(it)).transpose()?.flatten(),
            },
        };
        if pays {
            let paid = client.map_or(Ok(()), |client| admission.client_handshake(client));
            if let Err(refusal) = paid.and_then(|()| admission.handshake()) {
                self.state().keep(slots);
                return Err(refusal);
            }
        }
        Ok(slots)
    }
}

impl Http2State {
    /// The connection itself counts as long as it exists.
    fn keep(&mut self, slots: SessionSlots) {
        self.spare.get_or_insert(slots);
    }
}

impl RunningStream {
    pub fn connection(&self) -> &Arc<Http2Connection> {
        &self.connection
    }

    /// Applies the limits to a request.
    pub fn admit(&mut self, request: &Request<()>) -> Result<(), ConnectionRefusal> {
        let connection = &self.connection;
        self.forwarded = connection.public.admit_request(connection.peer, request)?;
        if request::starts_session(request) {
            let slots = connection.session_slots(!request::is_short(request));
            let client = connection.peer.client();
            self.slots = Some(slots.inspect_err(|refusal| refusal.count(client))?);
        }
        Ok(())
    }
}

impl Drop for RunningStream {
    fn drop(&mut self) {
        let mut state = self.connection.state();
        state.running -= 1;
        let timeout = if state.is_leaving { LEAVE_TIMEOUT } else { KEEP_ALIVE_TIMEOUT };
        state.idle_until = Instant::now() + timeout;
        if let Some(slots) = self.slots.take() {
            state.keep(slots);
        }
    }
}
