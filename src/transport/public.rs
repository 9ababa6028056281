//! What all connections of the public listener share.

use std::sync::Arc;

use super::Config;
use super::admission::Admission;
use super::connection_refusal::ConnectionRefusal;
use super::demo::Demo;
use crate::apps::Apps;
use crate::drain::{Drain, Phase};
use crate::limits::Limits;
use crate::live::Live;
use crate::memory::MemoryMonitor;
use crate::session::SessionContext;
use crate::topics;

/// What every connection of the public listener needs.
pub struct Public {
    pub(super) context: Arc<SessionContext>,
    pub(super) server: Live<Config>,
    pub(super) demo: Option<Demo>,
    pub(super) apps: Apps,
    /// Whether the node is a hub of updates.
    pub(super) updates: topics::Config,
    /// Whether only this host can reach the listener. Set at the start; later configurations do not change
    /// it.
    pub(super) on_loopback: bool,
    pub(super) admission: Arc<Admission>,
    drain: Drain,
}

impl Public {
    pub fn new(
        server: Live<Config>,
        limits: Limits,
        memory: MemoryMonitor,
        demo: Option<Demo>,
        apps: Apps,
        context: Arc<SessionContext>,
        drain: Drain,
    ) -> Self {
        let on_loopback = server.get().listen.ip().is_loopback();
        let admission = Admission::new(limits, memory);
        let updates = topics::Config::default();
        Self { context, server, demo, apps, updates, on_loopback, admission, drain }
    }

    /// The same listener as a hub of updates, if they are enabled.
    pub fn with_updates(self, updates: topics::Config) -> Self {
        Self { updates, ..self }
    }

    /// Whether the next client would be refused because of the number of connections.
    pub fn is_full(&self) -> bool {
        self.admission.is_full()
    }

    /// Waits until the drain closes connections.
    pub(super) async fn draining(&self) {
        self.drain.reached(Phase::Draining).await;
    }

    /// Refuses new sessions once the drain closes connections, also on connections that exist already.
    pub(super) fn check_phase(&self) -> Result<(), ConnectionRefusal> {
        match self.drain.phase() {
            Phase::Serving | Phase::Leaving => Ok(()),
            Phase::Draining => Err(ConnectionRefusal::Draining),
        }
    }
}
