//! Reloads the settings of a running node: reads and checks all of them, and then applies them, or refuses them and
//! keeps the old ones.

mod widened;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::auth::Auth;
use crate::config::{self, Config, FixedSettings, Sources};
use crate::hub::Hub;
use crate::limits::Limits;
use crate::live::Live;
use crate::session::Users;
use crate::settings::KeySpec;
use crate::{critical_tasks, drain, internal, telemetry, transport};

/// How often files are checked. By content, because Kubernetes replaces a link to a directory, and the files in it
/// keep their modification times.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// The most bytes of a file that are compared.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The parts of a node that apply new settings.
pub struct Followers {
    pub hub: Hub,
    pub auth: Auth,
    pub users: Users,
    pub limits: Limits,
    pub server: Live<transport::Config>,
    pub internal: Live<internal::Config>,
    pub drain: Live<drain::Config>,
    pub mqtt: Live<transport::DirectConfig>,
}

/// The settings of a running node.
pub struct Reload {
    sources: Sources,
    followers: Followers,
    /// The keys in force, to find changed ones.
    key_specs: Vec<KeySpec>,
    files: Vec<PathBuf>,
    /// Hashes of the files' contents: at the last check, and at the last reload.
    checked_hash: u64,
    loaded_hash: u64,
    /// The bound addresses, and the access control that a reload must not weaken.
    fixed_settings: FixedSettings,
    /// The faults of the newest configuration, which is tried again until it has none.
    refused: Option<String>,
}

impl Reload {
    pub fn new(sources: Sources, config: &Config, followers: Followers) -> Self {
        let (known, files) = (config.key_specs.clone(), config.files.clone());
        let trace = hash_files(&files);
        let bound = FixedSettings::of(config);
        Self {
            sources,
            followers,
            key_specs: known,
            files,
            checked_hash: trace,
            loaded_hash: trace,
            fixed_settings: bound,
            refused: None,
        }
    }

    /// Reloads at every `hangup`, and when a file has changed.
    pub fn start(mut self, mut hangup: Signal) {
        let mut checks = interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        critical_tasks::spawn("reload", async move {
            loop {
                tokio::select! {
                    // `None` only when the runtime shuts down.
                    _ = hangup.recv() => {
                        self.refused = None;
                        self.reload("SIGHUP").await;
                    }
                    _ = checks.tick() => if self.has_changed().await {
                        self.reload("a file has changed").await;
                    },
                }
            }
        });
    }

    /// Whether the files have changed, and are the same at two checks in a row, because one may be half written.
    /// A refused configuration is tried again, because the missing part may be in another file.
    async fn has_changed(&mut self) -> bool {
        let now = self.hash_watched_files().await;
        let is_settled = now == self.checked_hash;
        self.checked_hash = now;
        is_settled && (now != self.loaded_hash || self.refused.is_some())
    }

    async fn reload(&mut self, why: &str) {
        // Before reading, so that a change during it is found at the next check.
        self.loaded_hash = self.hash_watched_files().await;
        let (sources, bound) = (self.sources.clone(), self.fixed_settings.clone());
        let config = match on_blocking_thread(move || Config::load_again(&sources, &bound)).await {
            Ok(config) => config,
            Err(faults) => return self.refuse(why, faults.to_string()),
        };
        self.refused = None;
        config::ignored(&self.sources).iter().for_each(|what| telemetry::setting_ignored(what));
        telemetry::access_widened(&self.widened(&config));
        let changed = changed(&self.key_specs, &config.key_specs);
        let (live, fixed): (Vec<_>, Vec<_>) =
            changed.into_iter().partition(|key| Config::is_live(key));
        self.key_specs = config.key_specs.clone();
        if self.files != config.files {
            self.files.clone_from(&config.files);
            self.loaded_hash = self.hash_watched_files().await;
            self.checked_hash = self.loaded_hash;
        }
        self.fixed_settings.follow(&config);
        self.followers.follow(config).await;
        telemetry::reloaded(why, &live, &fixed);
    }

    async fn hash_watched_files(&self) -> u64 {
        let files = self.files.clone();
        on_blocking_thread(move || hash_files(&files)).await
    }

    /// What the new settings allow that those in force do not.
    fn widened(&self, config: &Config) -> Vec<String> {
        let (old, new) = (self.followers.hub.rules().current(), config.rules.current());
        let rules = new.widened_from(&old).into_iter().map(|widened| widened.to_string());
        rules.chain(widened::settings(&self.key_specs, &config.key_specs)).collect()
    }

    /// Reports the same faults only once.
    fn refuse(&mut self, why: &str, faults: String) {
        if self.refused.as_ref() != Some(&faults) {
            telemetry::reload_refused(why, &faults);
            self.refused = Some(faults);
        }
    }
}

impl Followers {
    async fn follow(&self, mut config: Config) {
        telemetry::set_log_level(config.telemetry.log_level);
        telemetry::set_trace_ratio(config.telemetry.traces.ratio);
        transport::warn_of_file_limit(config.limits.connections_max);
        self.limits.replace(config.limits);
        config.server.tls =
            config.server.tls.map(|new| new.or_same(self.server.get().tls.as_ref()));
        config.internal.tls =
            config.internal.tls.map(|new| new.or_same(self.internal.get().tls.as_ref()));
        config.mqtt.tls = config.mqtt.tls.map(|new| new.or_same(self.mqtt.get().tls.as_ref()));
        self.mqtt.replace(config.mqtt);
        self.server.replace(config.server);
        self.internal.replace(config.internal);
        self.drain.replace(config.drain);
        self.users.revocations().set_age(config.auth.revocation_age);
        self.auth.replace(&config.auth);
        self.hub.replace_rules(&config.rules).await;
    }
}

/// Reads files on a blocking thread, so that a file that does not respond, as on a network file system, blocks only
/// the reload. The reload waits for it, so there is at most one such thread.
async fn on_blocking_thread<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(read).await {
        Ok(read) => read,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// The keys whose effective values differ, sorted. Changes of masked secrets are not visible.
fn changed(old: &[KeySpec], new: &[KeySpec]) -> Vec<String> {
    let value = |known: &[KeySpec], key: &str| {
        known.iter().find(|it| it.key == key).map(|it| it.effective.clone())
    };
    let all = old.iter().chain(new).filter(|known| !known.is_schema());
    let mut keys: Vec<_> = all.map(|known| known.key.clone()).collect();
    keys.sort();
    keys.dedup();
    keys.retain(|key| value(old, key) != value(new, key));
    keys
}

/// A hash of the files' contents. Unreadable files count as empty.
fn hash_files(files: &[PathBuf]) -> u64 {
    use std::io::Read;
    let mut hasher = DefaultHasher::new();
    for path in files {
        let mut bytes = Vec::new();
        if let Ok(file) = std::fs::File::open(path) {
            // After an error, the bytes read so far are hashed.
            let _ = file.take(FILE_BYTES_MAX).read_to_end(&mut bytes);
        }
        bytes.hash(&mut hasher);
    }
    hasher.finish()
}
