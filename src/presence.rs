//! Presence: the users in a channel. Sessions enter and leave without waiting; one task writes the changes to
//! the broker in batches, and renews the node's channels before they expire.

mod local_presence;
mod member_lists;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::local_presence::LocalPresence;
pub use self::member_lists::MembersRead;
use self::member_lists::{LATE_MAX, MemberLists};
use crate::broker::{Broker, Unavailable};
use crate::critical_tasks;
use crate::protocol::SharedMembers;
use crate::publication::{Channel, Members, User, UserInfo};
use crate::settings::Settings;

/// How often a node renews its channels within the time to live. Redis counts a node as alive for 0.6 of it,
/// so one renewal may be lost, and the next node that renews detects a dead one in time.
const RENEWALS_PER_TTL: u32 = 4;

/// The pause after a failed broker call.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How long a query waits until this node's earlier changes are written.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(1);

/// The `[presence]` section.
#[derive(Clone, Debug)]
pub struct Config {
    pub ttl: Duration,
    pub grace: Duration,
}

impl Config {
    pub fn read(settings: &mut Settings) -> Self {
        let mut section = settings.section("presence");
        let ttl = section.duration(
            "ttl",
            "30s",
            Duration::from_secs(3)..=Duration::from_secs(3600),
            "The members of a crashed node leave within this time. Every quarter of it, a node writes \
             to Redis once for each channel in which it has members.",
        );
        let grace = section.duration(
            "grace",
            "5s",
            Duration::ZERO..=Duration::from_secs(60),
            "A user who returns within this time causes no leave and no join. Less than `ttl`.",
        );
        if grace >= ttl {
            settings.fault("presence.grace", "must be less than presence.ttl");
        }
        Self { ttl, grace }
    }
}

/// The members of this node in its channels, and the query for those of all nodes. Cheap to clone.
#[derive(Clone)]
pub struct Presence(Arc<PresenceState>);

struct PresenceState {
    broker: Arc<dyn Broker>,
    ttl: Duration,
    local: Mutex<LocalPresence>,
    /// Notified when a session enters or leaves.
    changed: Notify,
    /// How many changes were written, or failed to be.
    tried: watch::Sender<u64>,
    lists: MemberLists,
}

/// The node stops, and reads no lists.
const STOPPING: Unavailable = Unavailable("the node is stopping");

impl Presence {
    /// Starts the task on the current runtime.
    pub fn start(config: &Config, broker: Arc<dyn Broker>) -> Self {
        let presence = Self(Arc::new(PresenceState {
            broker,
            ttl: config.ttl,
            local: Mutex::new(LocalPresence::new(config.grace)),
            changed: Notify::new(),
            tried: watch::Sender::default(),
            lists: MemberLists::default(),
        }));
        critical_tasks::spawn("presence", run(presence.0.clone()));
        presence
    }

    /// Adds a session of the user to the channel. `info`: what its token says of the user. The guard's drop removes
    /// it.
    pub fn enter(&self, channel: Channel, user: User, info: Option<&UserInfo>) -> Present {
        self.0.local().enter(&channel, &user, info);
        self.0.changed.notify_one();
        Present { presence: self.clone(), channel, user }
    }

    /// The channel's members over all nodes. Includes earlier changes of this node's sessions.
    pub async fn members(&self, channel: Channel) -> Result<Members, Unavailable> {
        let changes = self.0.local().changes();
        let mut tried = self.0.tried.subscribe();
        // A timeout is not an error: the reply is then slightly out of date.
        let _ = timeout(WRITE_WAIT_MAX, tried.wait_for(|tried| *tried >= changes)).await;
        self.0.broker.members(channel).await
    }

    /// The same, read once for all sessions that ask while another list of the channel is read.
    pub fn shared_members(&self, channel: Channel) -> impl Future<Output = MembersRead> + use<> {
        let (list, starts) = self.0.lists.wait(&channel);
        if starts {
            tokio::spawn(self.clone().read_lists(channel));
        }
        async move { list.await.unwrap_or(Err(STOPPING)) }
    }

    /// Reads lists of the channel's members while sessions ask for one. A session gets a list whose reading began after
    /// it had asked.
    async fn read_lists(self, channel: Channel) {
        while let Some(sessions) = self.0.lists.take(&channel) {
            let read = self.members(channel.clone()).await;
            let shared = read.map(|members| Arc::new(SharedMembers::new(members)));
            if let Ok(list) = &shared {
                self.0.lists.keep(list.clone(), Instant::now());
            }
            for session in sessions {
                // It may have ended meanwhile.
                let _ = session.send(shared.clone());
            }
        }
        sleep(LATE_MAX).await;
        self.0.lists.forget_old(Instant::now());
    }
}

/// A session's presence in a channel. The drop removes it.
pub struct Present {
    presence: Presence,
    channel: Channel,
    user: User,
}

impl Drop for Present {
    fn drop(&mut self) {
        let PresenceState { changed, .. } = &*self.presence.0;
        self.presence.0.local().leave(&self.channel, &self.user, Instant::now());
        changed.notify_one();
    }
}

impl PresenceState {
    fn local(&self) -> MutexGuard<'_, LocalPresence> {
        self.local.lock().expect("no code panics while it holds this lock")
    }

    /// Writes the next changes to the broker.
    async fn write(&self) -> CallsOutcome {
        let attendances = self.local().take_changes(Instant::now());
        if attendances.is_empty() {
            return CallsOutcome::Nothing;
        }
        let answers = self.broker.write_members(self.ttl, &attendances).await;
        let done = CallsOutcome::of(&answers);
        let tried = self.local().settle(&attendances, &answers);
        self.tried.send_replace(tried);
        done
    }

    /// Renews the next channels.
    async fn renew(&self) -> CallsOutcome {
        let renewals = self.local().take_due();
        if renewals.is_empty() {
            return CallsOutcome::Nothing;
        }
        let answers = self.broker.renew_members(self.ttl, &renewals).await;
        self.local().settle_renewals(&renewals, &answers);
        CallsOutcome::of(&answers)
    }
}

/// The outcome of a batch of calls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CallsOutcome {
    /// There was nothing to do.
    Nothing,
    All,
    /// Some calls failed.
    Not,
}

impl CallsOutcome {
    fn of<T>(answers: &[Result<T, Unavailable>]) -> Self {
        if answers.iter().all(Result::is_ok) { Self::All } else { Self::Not }
    }
}

/// Writes and renews in turn, so that neither has to wait for all of the other. Wakes for a change, the end
/// of a grace period, and the next renewal.
async fn run(state: Arc<PresenceState>) {
    let mut renew_at = Instant::now() + state.ttl / RENEWALS_PER_TTL;
    loop {
        if Instant::now() >= renew_at {
            state.local().renew_all();
            renew_at = Instant::now() + state.ttl / RENEWALS_PER_TTL;
        }
        match [state.write().await, state.renew().await] {
            [CallsOutcome::Nothing, CallsOutcome::Nothing] => {
                let wake_at =
                    state.local().next_grace_end().map_or(renew_at, |end| end.min(renew_at));
                tokio::select! {
                    () = state.changed.notified() => {}
                    () = sleep_until(wake_at) => {}
                }
            }
            done if done.contains(&CallsOutcome::Not) => sleep(RETRY_PAUSE).await,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
