//! Events for the backend: which channels have subscribers, who is in them, who is connected, and what was
//! published, as entries of one Redis Stream.
//!
//! Sessions report without waiting. What they report is kept as a state, bounded by what the node holds, or in a
//! bounded queue. One task writes it in batches; while the broker is unavailable, clients notice nothing.

mod config;
mod local_events;
mod state;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

pub use self::config::Config;
use self::state::{EventsState, StopStage};
use self::writer::Writer;
use crate::broker::{Broker, EventEdges, EventItem, EventLogConfig, PublishedEvent};
use crate::close::Close;
use crate::publication::{
    Channel, NodeId, PayloadKind, Position, Publication, SessionId, User, UserInfo,
};
use crate::rules::{EventKinds, Policy};
use crate::{critical_tasks, telemetry};

/// The largest payload that an event of a publication carries, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1024;

/// How long a stopping node tries to write its last events.
const FINISH_TIMEOUT: Duration = Duration::from_millis(500);

/// Reports events. Cheap to clone. The default reports none.
#[derive(Clone, Default)]
pub struct Events(Option<Arc<EventsState>>);

impl Events {
    /// Starts the task on the current runtime. Reports none if `events.stream` is not set.
    ///
    /// `ttl`: a crashed node's items are removed within this time. `grace`: who returns within this time has not left.
    pub fn start(
        config: &Config,
        ttl: Duration,
        grace: Duration,
        node: NodeId,
        broker: &dyn Broker,
    ) -> Self {
        let Some(stream) = config.stream.clone() else { return Self::default() };
        let Some(log) = broker.event_log(EventLogConfig { stream, size: config.size, ttl }) else {
            return Self::default();
        };
        let state = Arc::new(EventsState::new(node, grace));
        telemetry::events_written(0);
        let writer = Writer::new(state.clone(), log, ttl, grace);
        critical_tasks::spawn("events", writer.run());
        Self(Some(state))
    }

    /// Adds a subscriber to a channel with this policy. The guard's drop removes it. None: the policy has no such events.
    pub fn enter(
        &self,
        channel: &Channel,
        policy: &Policy,
        user: &User,
        info: Option<&UserInfo>,
    ) -> Option<Attending> {
        let state = self.0.as_ref()?;
        let of_channel = edges(policy.events, EventKinds::OCCUPIED, EventKinds::VACATED);
        let of_member = edges(policy.events, EventKinds::JOIN, EventKinds::LEAVE);
        let of_member = of_member.filter(|_| policy.presence);
        let channel_item = of_channel.map(|edges| (EventItem::Channel(channel.clone()), edges));
        let member = || EventItem::Member(channel.clone(), user.clone());
        let member_item = of_member.map(|edges| (member(), edges));
        let items: Vec<_> = channel_item.into_iter().chain(member_item).collect();
        if items.is_empty() {
            return None;
        }
        let mut local = state.local();
        for (item, edges) in &items {
            let info = info.filter(|_| matches!(item, EventItem::Member(..)));
            local.hold(item, *edges, info);
        }
        drop(local);
        state.changed.notify_one();
        Some(Attending { state: state.clone(), items })
    }

    /// Reports a connected session. The guard's drop reports its end. None: there are no events.
    pub fn connect(&self, session: SessionId, user: User) -> Option<Box<ConnectedSession>> {
        let state = self.0.clone()?;
        state.local().connect(session.number, user);
        state.changed.notify_one();
        Some(Box::new(ConnectedSession { state, number: session.number, close: Close::Internal }))
    }

    /// The session is now of this user. Nothing is reported if it is the same, or the session is not connected.
    pub fn set_user(&self, session: SessionId, user: &User) {
        if let Some(state) = &self.0 {
            state.local().set_user(session.number, user);
            state.changed.notify_one();
        }
    }

    /// The event of a publication to a channel with this policy, to be reported once it is accepted. None: the policy
    /// has no such events.
    pub fn publication(
        &self,
        channel: &Channel,
        policy: impl FnOnce() -> Policy,
        publication: &Publication,
    ) -> Option<Box<PublishedEvent>> {
        self.0.as_ref()?;
        policy().events.has(EventKinds::PUBLISHED).then(|| {
            let payload = &publication.payload;
            Box::new(PublishedEvent {
                channel: channel.clone(),
                user: publication.user.clone(),
                session: publication.session,
                position: None,
                size: payload.len(),
                // A copy: the original may share a large buffer with other messages.
                payload: (payload.len() <= PAYLOAD_BYTES_MAX).then(|| payload.to_vec().into()),
                is_binary: publication.kind == PayloadKind::Binary,
            })
        })
    }

    /// Reports an accepted publication.
    pub fn published(&self, event: Option<Box<PublishedEvent>>, position: Option<Position>) {
        if let (Some(state), Some(event)) = (&self.0, event) {
            state.local().publish(PublishedEvent { position, ..*event });
            state.changed.notify_one();
        }
    }

    /// Writes what is left when the node stops, for a bounded time. What the node still holds then is removed by
    /// other nodes, once its clients had the time to come to them.
    pub async fn finish(&self) {
        let Some(state) = &self.0 else { return };
        state.stop.send_if_modified(|stage| {
            let begins = *stage == StopStage::Running;
            *stage = (*stage).max(StopStage::Stopping);
            begins
        });
        state.changed.notify_one();
        let mut stage = state.stop.subscribe();
        let stopped = stage.wait_for(|stage| *stage == StopStage::Stopped);
        let _ = timeout(FINISH_TIMEOUT, stopped).await;
    }
}

/// Which edges of an item are events. None: neither.
fn edges(kinds: EventKinds, first: EventKinds, last: EventKinds) -> Option<EventEdges> {
    match (kinds.has(first), kinds.has(last)) {
        (true, true) => Some(EventEdges::Both),
        (true, false) => Some(EventEdges::First),
        (false, true) => Some(EventEdges::Last),
        (false, false) => None,
    }
}

/// A subscriber of a channel with events. The drop removes it.
pub struct Attending {
    state: Arc<EventsState>,
    items: Vec<(EventItem, EventEdges)>,
}

impl Drop for Attending {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut local = self.state.local();
        // A member leaves before the channel is vacated.
        self.items.iter().rev().for_each(|(item, _)| local.free(item, now));
        drop(local);
        self.state.changed.notify_one();
    }
}

/// A connected session. The drop reports its end: as a fault of the node, if no other reason was set.
pub struct ConnectedSession {
    state: Arc<EventsState>,
    number: u64,
    close: Close,
}

impl ConnectedSession {
    /// Reports the end of the session for this reason.
    pub fn end(mut self, close: Close) {
        self.close = close;
    }
}

impl Drop for ConnectedSession {
    fn drop(&mut self) {
        self.state.local().disconnect(self.number, self.close.label());
        self.state.changed.notify_one();
    }
}
