//! The public listener: what all its connections share.

use std::sync::Arc;

use super::Config;
use super::admission::Admission;
use super::connection_refusal::ConnectionRefusal;
use super::demo::Demo;
use crate::drain::{Drain, Phase};
use crate::limits::Limits;
use crate::live::Live;
use crate::memory::MemoryMonitor;
use crate::session::SessionContext;

/// The public listener: what every connection needs to be answered.
pub struct Public {
    pub(super) context: Arc<SessionContext>,
    pub(super) server: Live<Config>,
    pub(super) demo: Option<Demo>,
    /// Can only this host reach the listener, whatever the configuration says by now?
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
        context: Arc<SessionContext>,
        drain: Drain,
    ) -> Self {
        let on_loopback = server.get().listen.ip().is_loopback();
        let admission = Admission::new(limits, memory);
        Self { context, server, demo, on_loopback, admission, drain }
    }

    /// Would the next client be refused because there are as many as may be?
    pub fn is_full(&self) -> bool {
        self.admission.is_full()
    }

    /// Nobody new is let in once connections are being closed, on whatever connection it asks.
    pub(super) fn check_phase(&self) -> Result<(), ConnectionRefusal> {
        match self.drain.phase() {
            Phase::Serving | Phase::Leaving => Ok(()),
            Phase::Draining => Err(ConnectionRefusal::Draining),
        }
    }
}
