//! The parts of the node that the internal listener uses.

use crate::auth::Auth;
use crate::drain::Drain;
use crate::events::Events;
use crate::hub::Hub;
use crate::lag::Lag;
use crate::memory::MemoryMonitor;
use crate::presence::Presence;
use crate::rules::Rules;
use crate::session::Users;

pub struct InternalState {
    pub hub: Hub,
    pub presence: Presence,
    pub events: Events,
    pub users: Users,
    pub auth: Auth,
    pub rules: Rules,
    pub drain: Drain,
    pub memory: MemoryMonitor,
    pub lag: Lag,
}
