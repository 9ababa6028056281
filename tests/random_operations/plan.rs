//! What a run does, made from its seed alone: who publishes, who listens, what breaks when.
//!
//! A plan is a list of *parts*, each with a seed of its own, so that a part does the same whatever others
//! are left out. That is how a finding is narrowed down: `OPS` keeps the first parts, `WITHOUT` leaves
//! some out.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use testkit::audit::channels::{self, AuditChannel, ChannelNumber, HistoryKind};
use testkit::audit::journal::PublishPath;

/// What carries publications between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broker {
    Memory,
    /// A Redis that keeps nothing over a restart.
    Redis,
    /// A Redis that writes everything down.
    DurableRedis,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub broker: Broker,
    pub nodes: usize,
    /// How long operations go on before everything is healed.
    pub time: Duration,
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug)]
pub struct Part {
    /// Its place in the whole plan.
    pub number: usize,
    pub seed: u64,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    Publisher(Publisher),
    Client(Client),
    Fault { at: Duration, fault: Fault },
}

#[derive(Clone, Copy, Debug)]
pub struct Publisher {
    pub channel: ChannelNumber,
    pub way: PublishPath,
    /// The mean pause between two publications.
    pub pause: Duration,
    /// Some: after so many publications at most it is silent for as long as a stream takes to expire.
    pub burst: Option<u32>,
    /// With an idempotency key, and what failed is sent again.
    pub keyed: bool,
    /// Now and then one is larger than a connection's queue may be.
    pub large: bool,
}

#[derive(Clone, Debug)]
pub struct Client {
    pub role: Role,
    pub channels: Vec<ChannelNumber>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Stays, and subscribes again now and then to what it has.
    Holder,
    /// Unsubscribes and subscribes every few milliseconds.
    Toggler,
    /// Comes back again and again, from positions of all kinds.
    Resumer,
    /// Stops reading now and then.
    Pauser,
    /// Subscribes, with echo or without, and publishes on the same connection.
    Talker,
    /// Plain protocol; publishes too if so.
    Plain { publishes: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    NodeStops {
        node: usize,
        time: Duration,
    },
    NodeIsKilled {
        node: usize,
        away: Duration,
    },
    /// Every node takes up another variant of the rules, one after the other.
    Reload {
        variant: usize,
        pause: Duration,
    },
    RedisStops(Duration),
    RedisPauses(Duration),
    RedisIsKilled(Duration),
    /// Connections are cut: those that subscribe, or the others.
    SubscribersAreCut,
    PublishersAreCut,
    StreamIsDeleted(ChannelNumber),
    StreamIsTrimmed(ChannelNumber),
}

impl Fault {
    /// Of Redis, or of several nodes.
    fn needs_redis(self) -> bool {
        !matches!(self, Self::NodeStops { .. } | Self::NodeIsKilled { .. } | Self::Reload { .. })
    }

    /// A subscribed connection may break, or be read late.
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
        let forges = random.random_bool(0.3);
        let mut maker = Maker { channels: channels::all(), broker, nodes, time, forges, random };
        let mut all = maker.publishers();
        all.extend(maker.clients());
        all.extend(maker.faults());
        let part = |(number, what)| Part { number, seed: maker.random.random(), what };
        let parts = all.into_iter().enumerate().map(part).collect();
        Self { seed, broker, nodes, time, parts }
    }

    pub fn clients(&self) -> impl Iterator<Item = (&Part, &Client)> {
        self.parts.iter().filter_map(|part| match &part.what {
            What::Client(client) => Some((part, client)),
            _ => None,
        })
    }

    pub fn publishers(&self) -> impl Iterator<Item = (&Part, &Publisher)> {
        self.parts.iter().filter_map(|part| match &part.what {
            What::Publisher(publisher) => Some((part, publisher)),
            _ => None,
        })
    }

    pub fn faults(&self) -> impl Iterator<Item = (Duration, Fault)> {
        self.parts.iter().filter_map(|part| match part.what {
            What::Fault { at, fault } => Some((at, fault)),
            _ => None,
        })
    }

    /// All that is kept is lost at least once.
    pub fn has_amnesia(&self) -> bool {
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

/// Draws the parts.
struct Maker {
    channels: Vec<AuditChannel>,
    broker: Broker,
    nodes: usize,
    time: Duration,
    /// What services relay poses as header lines.
    forges: bool,
    random: StdRng,
}

impl Maker {
    fn publishers(&mut self) -> Vec<What> {
        let mut all = Vec::new();
        for channel in 0..self.channels.len() {
            let count = self.random.random_range(1..=3);
            for _ in 0..count {
                all.push(What::Publisher(self.publisher(channel)));
            }
        }
        all
    }

    fn publisher(&mut self, channel: ChannelNumber) -> Publisher {
        let ways: &[PublishPath] = match self.broker {
            Broker::Memory => &[PublishPath::Json, PublishPath::Api],
            _ => &[
                PublishPath::Json,
                PublishPath::Json,
                PublishPath::Api,
                PublishPath::Function,
                PublishPath::Function,
                PublishPath::Publish,
                if self.forges {
                    PublishPath::PublishForged
                } else {
                    PublishPath::PublishWithHeader
                },
            ],
        };
        let way = *ways.choose(&mut self.random).expect("there are ways");
        let expires = self.channels[channel].kind == HistoryKind::Expiring;
        Publisher {
            channel,
            way,
            pause: self.millis(8, 45),
            burst: expires.then(|| self.random.random_range(1..=6)),
            keyed: matches!(way, PublishPath::Json | PublishPath::Function)
                && self.random.random_bool(0.6),
            large: way == PublishPath::Function && self.random.random_bool(0.1),
        }
    }

    fn clients(&mut self) -> Vec<What> {
        let roles = [
            (Role::Holder, 10, 14),
            (Role::Toggler, 8, 14),
            (Role::Resumer, 4, 8),
            (Role::Pauser, 1, 2),
            (Role::Talker, 2, 4),
            (Role::Plain { publishes: false }, 2, 4),
            (Role::Plain { publishes: true }, 1, 2),
        ];
        let mut all = Vec::new();
        for (role, least, most) in roles {
            for _ in 0..self.random.random_range(least..=most) {
                all.push(What::Client(Client { role, channels: self.wants(role) }));
            }
        }
        // Among many who stay, delivery takes longer than a toggle.
        if self.random.random_bool(0.4) {
            let crowded = self.random.random_range(..self.channels.len());
            for _ in 0..self.random.random_range(60..=120) {
                let channels = vec![crowded];
                all.push(What::Client(Client { role: Role::Holder, channels }));
            }
            for _ in 0..6 {
                let channels = vec![crowded];
                all.push(What::Client(Client { role: Role::Toggler, channels }));
            }
        }
        all
    }

    fn wants(&mut self, role: Role) -> Vec<ChannelNumber> {
        let count = match role {
            Role::Holder => self.random.random_range(3..=self.channels.len()),
            Role::Toggler => self.random.random_range(1..=2),
            Role::Resumer | Role::Pauser => self.random.random_range(2..=5),
            Role::Talker => 2,
            Role::Plain { .. } => 1,
        };
        let all: Vec<ChannelNumber> = (0..self.channels.len()).collect();
        all.choose_multiple(&mut self.random, count).copied().collect()
    }

    fn faults(&mut self) -> Vec<What> {
        let count = self.random.random_range(2..=7);
        let mut all = Vec::new();
        while all.len() < count {
            let fault = self.fault();
            if fault.needs_redis() && self.broker == Broker::Memory {
                continue;
            }
            let at = self.time.mul_f64(self.random.random_range(0.05..0.75));
            all.push(What::Fault { at, fault });
        }
        all
    }

    fn fault(&mut self) -> Fault {
        let node = self.random.random_range(..self.nodes);
        match self.random.random_range(..22u32) {
            0..3 => Fault::NodeStops { node, time: self.millis(200, 3000) },
            3 => Fault::NodeIsKilled { node, away: self.millis(0, 600) },
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

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {:?}, {} nodes, {:?}",
            self.seed, self.broker, self.nodes, self.time
        )?;
        let channels = channels::all();
        self.parts.iter().try_for_each(|part| {
            write!(f, "  {:>3} ", part.number)?;
            match &part.what {
                What::Publisher(it) => writeln!(
                    f,
                    "publisher on {} by {:?} every {:?}{}{}",
                    channels[it.channel].name,
                    it.way,
                    it.pause,
                    it.burst.map_or(String::new(), |burst| format!(", in bursts of {burst}")),
                    match (it.keyed, it.large) {
                        (false, false) => "",
                        (true, false) => ", with keys",
                        (false, true) => ", some large",
                        (true, true) => ", with keys, some large",
                    },
                ),
                What::Client(it) => {
                    let names: Vec<&str> =
                        it.channels.iter().map(|number| channels[*number].name.as_str()).collect();
                    writeln!(f, "client {:?} on {}", it.role, names.join(" "))
                }
                What::Fault { at, fault } => writeln!(f, "at {at:?}: {fault:?}"),
            }
        })
    }
}
