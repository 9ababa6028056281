//! The plan of a run, generated from its seed alone: publishers, clients, and the times of faults.
//!
//! A plan is a list of *parts*, each with its own seed, so that a part does the same no matter which other
//! parts are left out. This allows to reduce a plan with a finding: `OPS` keeps the first parts, `WITHOUT`
//! leaves some out.

mod display;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use testkit::audit::channels::{self, AuditChannel, ChannelNumber, HistoryKind};
use testkit::audit::journal::PublishPath;

/// The broker between the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broker {
    Memory,
    /// A Redis without persistence.
    Redis,
    /// A Redis with an append-only file.
    DurableRedis,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub broker: Broker,
    pub nodes: usize,
    /// The duration of the operations; afterwards all faults are removed.
    pub time: Duration,
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug)]
pub struct Part {
    /// Its index in the whole plan.
    pub number: usize,
    pub seed: u64,
    pub kind: PartKind,
}

#[derive(Clone, Debug)]
pub enum PartKind {
    Publisher(Publisher),
    Worker(Worker),
    Client(Client),
    Fault { at: Duration, fault: Fault },
}

#[derive(Clone, Copy, Debug)]
pub struct Publisher {
    pub channel: ChannelNumber,
    pub path: PublishPath,
    /// The mean pause between two publications.
    pub pause: Duration,
    /// The most publications before a pause that is longer than a stream's expiry; `None` for no pauses.
    pub burst: Option<u32>,
    /// Whether it sends idempotency keys and repeats failed publications.
    pub keyed: bool,
    /// Whether some of its publications are larger than a connection's queue may be.
    pub large: bool,
}

/// A publisher of a run that also renews its lease, and ends it.
#[derive(Clone, Copy, Debug)]
pub struct Worker {
    pub publisher: Publisher,
    /// By functions in Redis, or by the internal API.
    pub calls_redis: bool,
    /// When it ends the run.
    pub ends_at: Duration,
    /// Its last publication and the end are one call.
    pub has_last: bool,
    /// It only stops then, as a crashed worker does.
    pub dies: bool,
}

#[derive(Clone, Debug)]
pub struct Client {
    pub role: Role,
    pub channels: Vec<ChannelNumber>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Stays connected, and sometimes repeats a subscription that it already has.
    LongSubscriber,
    /// Unsubscribes and subscribes every few milliseconds.
    Toggler,
    /// Reconnects repeatedly, and resumes from recent, old and invalid positions.
    Resumer,
    /// Sometimes stops reading for a while.
    Pauser,
    /// Subscribes, with or without echo, and publishes on the same connection.
    PublishingSubscriber,
    /// Uses the plain protocol, to publish as well if `publishes` is true.
    Plain { publishes: bool },
    /// Reads Server-Sent Events, of `several` channels or of one, and reconnects repeatedly with `Last-Event-ID`.
    EventStream { several: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    NodeStops {
        node: usize,
        time: Duration,
    },
    NodeIsKilled {
        node: usize,
        downtime: Duration,
    },
    /// The nodes reload another variant of the rules, one after the other.
    Reload {
        variant: usize,
        pause: Duration,
    },
    RedisStops(Duration),
    RedisPauses(Duration),
    RedisIsKilled(Duration),
    /// Redis closes the nodes' subscribed connections.
    SubscribersAreCut,
    /// Redis closes the nodes' other connections.
    PublishersAreCut,
    StreamIsDeleted(ChannelNumber),
    StreamIsTrimmed(ChannelNumber),
}

impl Fault {
    /// Whether the fault can only happen with a Redis.
    fn needs_redis(self) -> bool {
        !matches!(self, Self::NodeStops { .. } | Self::NodeIsKilled { .. } | Self::Reload { .. })
    }

    /// Whether the fault may break a subscribed connection or delay reads from it.
    fn interrupts(self) -> bool {
        !matches!(self, Self::Reload { .. } | Self::StreamIsDeleted(_) | Self::StreamIsTrimmed(_))
    }
}

impl Plan {
    pub fn of(seed: u64, time: Duration) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let broker = match random.random_range(..10u32) {
            0 | 1 => Broker::Memory,
            2..6 => Broker::DurableRedis,
            _ => Broker::Redis,
        };
        let nodes = match broker {
            Broker::Memory => 1,
            _ => random.random_range(2..=3),
        };
        let forges_headers = random.random_bool(0.3);
        let mut generator =
            Generator { channels: channels::all(), broker, nodes, time, forges_headers, random };
        let mut all = generator.publishers();
        all.extend(generator.workers());
        all.extend(generator.clients());
        all.extend(generator.faults());
        let part = |(number, kind)| Part { number, seed: generator.random.random(), kind };
        let parts = all.into_iter().enumerate().map(part).collect();
        Self { seed, broker, nodes, time, parts }
    }

    pub fn clients(&self) -> impl Iterator<Item = (&Part, &Client)> {
        self.parts.iter().filter_map(|part| match &part.kind {
            PartKind::Client(client) => Some((part, client)),
            _ => None,
        })
    }

    pub fn publishers(&self) -> impl Iterator<Item = (&Part, &Publisher)> {
        self.parts.iter().filter_map(|part| match &part.kind {
            PartKind::Publisher(publisher) => Some((part, publisher)),
            _ => None,
        })
    }

    pub fn workers(&self) -> impl Iterator<Item = (&Part, &Worker)> {
        self.parts.iter().filter_map(|part| match &part.kind {
            PartKind::Worker(worker) => Some((part, worker)),
            _ => None,
        })
    }

    pub fn faults(&self) -> impl Iterator<Item = (Duration, Fault)> {
        self.parts.iter().filter_map(|part| match part.kind {
            PartKind::Fault { at, fault } => Some((at, fault)),
            _ => None,
        })
    }

    /// Whether all stored publications are lost at least once.
    pub fn loses_data(&self) -> bool {
        self.faults().any(|(_, fault)| match fault {
            Fault::RedisIsKilled(_) => self.broker == Broker::Redis,
            Fault::NodeIsKilled { .. } => self.broker == Broker::Memory,
            _ => false,
        })
    }

    pub fn interrupts(&self) -> bool {
        self.faults().any(|(_, fault)| fault.interrupts())
    }
}

/// Draws the parts of a plan.
struct Generator {
    channels: Vec<AuditChannel>,
    broker: Broker,
    nodes: usize,
    time: Duration,
    /// Whether services relay text that looks like a header line.
    forges_headers: bool,
    random: StdRng,
}

impl Generator {
    fn publishers(&mut self) -> Vec<PartKind> {
        let mut all = Vec::new();
        for channel in 0..self.channels.len() {
            let count = match self.channels[channel].kind {
                HistoryKind::Run => self.random.random_range(0..=1),
                HistoryKind::Leased => 0,
                _ => self.random.random_range(1..=3),
            };
            for _ in 0..count {
                all.push(PartKind::Publisher(self.publisher(channel)));
            }
        }
        all
    }

    /// Two workers of some runs: one of the ends is refused.
    fn workers(&mut self) -> Vec<PartKind> {
        let runs = (0..self.channels.len()).filter(|it| self.channels[*it].kind.is_run());
        let mut all = Vec::new();
        for channel in runs.collect::<Vec<_>>() {
            let is_leased = self.channels[channel].kind == HistoryKind::Leased;
            let count = if is_leased { 1 } else { self.random.random_range(1..=2) };
            for _ in 0..count {
                let worker = Worker {
                    publisher: Publisher { large: false, ..self.publisher(channel) },
                    calls_redis: self.broker != Broker::Memory && self.random.random_bool(0.5),
                    ends_at: self.time.mul_f64(self.random.random_range(0.1..0.95)),
                    has_last: self.random.random_bool(0.5),
                    dies: self.random.random_bool(if is_leased { 0.6 } else { 0.1 }),
                };
                all.push(PartKind::Worker(worker));
            }
        }
        all
    }

    fn publisher(&mut self, channel: ChannelNumber) -> Publisher {
        let is_run = self.channels[channel].kind.is_run();
        let paths: &[PublishPath] = match self.broker {
            Broker::Memory => &[PublishPath::Json, PublishPath::Api],
            // What is relayed is no part of a run.
            _ if is_run => &[PublishPath::Json, PublishPath::Api, PublishPath::Function],
            _ => &[
                PublishPath::Json,
                PublishPath::Json,
                PublishPath::Api,
                PublishPath::Function,
                PublishPath::Function,
                PublishPath::Publish,
                if self.forges_headers {
                    PublishPath::PublishForged
                } else {
                    PublishPath::PublishWithHeader
                },
            ],
        };
        let path = *paths.choose(&mut self.random).expect("there are paths");
        let expires = self.channels[channel].kind == HistoryKind::Expiring;
        Publisher {
            channel,
            path,
            pause: self.millis(8, 45),
            burst: expires.then(|| self.random.random_range(1..=6)),
            keyed: matches!(path, PublishPath::Json | PublishPath::Function)
                && self.random.random_bool(0.6),
            large: path == PublishPath::Function && self.random.random_bool(0.1),
        }
    }

    fn clients(&mut self) -> Vec<PartKind> {
        let roles = [
            (Role::LongSubscriber, 10, 14),
            (Role::Toggler, 8, 14),
            (Role::Resumer, 4, 8),
            (Role::Pauser, 1, 2),
            (Role::PublishingSubscriber, 2, 4),
            (Role::Plain { publishes: false }, 2, 4),
            (Role::Plain { publishes: true }, 1, 2),
            (Role::EventStream { several: false }, 2, 4),
            (Role::EventStream { several: true }, 3, 6),
        ];
        let mut all = Vec::new();
        for (role, least, most) in roles {
            for _ in 0..self.random.random_range(least..=most) {
                all.push(PartKind::Client(Client { role, channels: self.pick_channels(role) }));
            }
        }
        // With many subscribers, delivery takes longer than a toggle.
        if self.random.random_bool(0.4) {
            let busy = self.random.random_range(..self.channels.len());
            for _ in 0..self.random.random_range(60..=120) {
                let channels = vec![busy];
                all.push(PartKind::Client(Client { role: Role::LongSubscriber, channels }));
            }
            for _ in 0..6 {
                let channels = vec![busy];
                all.push(PartKind::Client(Client { role: Role::Toggler, channels }));
            }
        }
        all
    }

    fn pick_channels(&mut self, role: Role) -> Vec<ChannelNumber> {
        let count = match role {
            Role::LongSubscriber => self.random.random_range(3..=self.channels.len()),
            Role::Toggler => self.random.random_range(1..=2),
            Role::Resumer | Role::Pauser | Role::EventStream { several: true } => {
                self.random.random_range(2..=5)
            }
            Role::PublishingSubscriber => 2,
            Role::Plain { .. } | Role::EventStream { several: false } => 1,
        };
        // Where it publishes, a client stays subscribed for the whole plan.
        let publishes = role == Role::PublishingSubscriber;
        let fits = |it: &ChannelNumber| {
            !self.channels[*it].kind.is_run() || !matches!(role, Role::Plain { .. }) && !publishes
        };
        let all: Vec<ChannelNumber> = (0..self.channels.len()).filter(fits).collect();
        all.choose_multiple(&mut self.random, count).copied().collect()
    }

    fn faults(&mut self) -> Vec<PartKind> {
        let count = self.random.random_range(2..=7);
        let mut all = Vec::new();
        while all.len() < count {
            let fault = self.fault();
            if fault.needs_redis() && self.broker == Broker::Memory {
                continue;
            }
            let at = self.time.mul_f64(self.random.random_range(0.05..0.75));
            all.push(PartKind::Fault { at, fault });
        }
        all
    }

    fn fault(&mut self) -> Fault {
        let node = self.random.random_range(..self.nodes);
        match self.random.random_range(..22u32) {
            0..3 => Fault::NodeStops { node, time: self.millis(200, 3000) },
            3 => Fault::NodeIsKilled { node, downtime: self.millis(0, 600) },
            4..9 => Fault::Reload {
                variant: self.random.random_range(..channels::VARIANTS),
                pause: self.millis(0, 400),
            },
            9 | 10 => Fault::RedisStops(self.millis(300, 2800)),
            11..13 => Fault::RedisPauses(self.millis(300, 2700)),
            13 | 14 => Fault::RedisIsKilled(self.millis(0, 1000)),
            15 | 16 => Fault::SubscribersAreCut,
            17 => Fault::PublishersAreCut,
            18 | 19 => Fault::StreamIsDeleted(self.channel(HistoryKind::Deleted)),
            _ => Fault::StreamIsTrimmed(self.channel(HistoryKind::Deleted)),
        }
    }

    fn channel(&self, kind: HistoryKind) -> ChannelNumber {
        self.channels.iter().position(|it| it.kind == kind).expect("there is one of each kind")
    }

    fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.random.random_range(least..=most))
    }
}
