//! A node with a healthy pair of clients, and the conditions that must hold during and after an attack.

use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::client::Client;
use testkit::node::Node;
use testkit::open_files::raise_open_file_limit;
use testkit::process::Signal;
use testkit::redis::Redis;
use tokio::sync::{Mutex, MutexGuard};

/// One victim at a time, because other attacks would change its measured latency.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// The number of round trips whose median is the latency.
const ROUND_TRIPS: usize = 101;

/// The highest allowed ratio of the latency after the attack to the latency before it. Latencies up to the
/// floor, which is far above the noise of a busy machine, are always allowed.
const SLOWDOWN_MAX: u32 = 5;
const LATENCY_FLOOR: Duration = Duration::from_millis(20);

/// The longest that one message of the pair may take during an attack.
const ATTACK_LATENCY_MAX: Duration = Duration::from_secs(5);

/// The longest wait for the node to return to its earlier state.
const RECOVERY_TIME_MAX: Duration = Duration::from_secs(30);

/// The most memory that the node may hold in addition after the attack, in bytes: an allocator keeps some.
const MEMORY_KEPT_MAX: f64 = (24 << 20) as f64;

pub struct Victim {
    pub node: Node,
    pub redis: Option<Redis>,
    publisher: Client,
    subscriber: Client,
    sent: u64,
    latency: Duration,
    /// The highest latency during the attack.
    slowest: Duration,
    /// The resident memory before the attack, in bytes.
    memory: f64,
    subscriptions_wanted: f64,
    _lock: MutexGuard<'static, ()>,
}

impl Victim {
    pub async fn standalone(settings: &[&str]) -> Self {
        Self::start(None, settings).await
    }

    pub async fn on_redis(settings: &[&str]) -> Self {
        Self::start(Some(Redis::start().await), settings).await
    }

    async fn start(redis: Option<Redis>, settings: &[&str]) -> Self {
        raise_open_file_limit();
        let lock = ONE_AT_A_TIME.lock().await;
        // Without these limits, because they would stop the attack.
        let open = ["limits.publications_per_second=0", "limits.new_channels_per_second=0"];
        let settings = [&["telemetry.log_level=debug"][..], &open, settings].concat();
        let node = match &redis {
            Some(redis) => Node::on(redis, &settings).await,
            None => Node::standalone(&settings).await,
        };
        let publisher = Client::plain(&node, "healthy").await;
        let subscriber = Client::plain(&node, "healthy").await;
        let mut victim = Self {
            node,
            redis,
            publisher,
            subscriber,
            sent: 0,
            latency: Duration::ZERO,
            slowest: Duration::ZERO,
            memory: 0.,
            subscriptions_wanted: 0.,
            _lock: lock,
        };
        victim.latency().await;
        victim.latency = victim.latency().await;
        victim.memory = victim.memory().await;
        victim.subscriptions_wanted = victim.node.metric("tidegate_subscriptions_wanted").await;
        victim
    }

    /// Asserts that the node serves the pair now.
    pub async fn assert_served(&mut self) {
        let took = self.round_trip().await;
        self.slowest = self.slowest.max(took);
        assert!(took < ATTACK_LATENCY_MAX, "a message took {took:?}");
        assert_eq!(self.node.get("/healthz").await.status, 200);
    }

    /// Asserts that the node serves the pair until a metric has reached a value.
    pub async fn assert_served_until(&mut self, metric: &str, value: f64) {
        let deadline = Instant::now() + RECOVERY_TIME_MAX;
        while self.node.metric(metric).await != value {
            assert!(
                Instant::now() < deadline,
                "{metric} did not reach {value} within {RECOVERY_TIME_MAX:?}"
            );
            self.assert_served().await;
        }
    }

    /// Asserts that all other clients are disconnected and that the node is in the same state as before.
    pub async fn assert_recovered(mut self) {
        self.assert_served_until("tidegate_connections", 2.).await;
        self.assert_served_until("tidegate_subscriptions", 2.).await;
        self.assert_served_until("tidegate_channels", 1.).await;
        self.assert_served_until("tidegate_outbound_queue_bytes", 0.).await;
        self.assert_served_until("tidegate_subscriptions_wanted", self.subscriptions_wanted).await;
        assert_eq!(self.node.get("/healthz").await.status, 200);
        assert!(self.node.is_ready().await);
        let worst = (SLOWDOWN_MAX * self.latency).max(LATENCY_FLOOR);
        self.wait_for_latency(worst).await;
        let kept_max = self.memory + MEMORY_KEPT_MAX;
        let deadline = Instant::now() + RECOVERY_TIME_MAX;
        while self.memory().await > kept_max {
            assert!(Instant::now() < deadline, "the memory remains at {}", self.memory().await);
            self.assert_served().await;
        }
        let (latency, memory) = (self.latency().await, self.memory().await);
        println!(
            "    latency: {:?} before, at most {:?} during, {latency:?} after",
            self.latency, self.slowest
        );
        println!(
            "    memory: {} MiB before, {} MiB after",
            mebibytes(self.memory),
            mebibytes(memory)
        );
        assert_eq!(self.node.metric("tidegate_panics_total").await, 0.);
        self.publisher.close().await;
        self.subscriber.close().await;
        self.node.signal(Signal::INT);
        assert_eq!(self.node.process.exit_code().await, 0);
        for line in self.node.process.stderr() {
            let parsed: Value = serde_json::from_str(&line)
                .unwrap_or_else(|error| panic!("{error} in a log line: {line:?}"));
            assert!(parsed["level"] != "ERROR", "{line}");
        }
    }

    async fn wait_for_latency(&mut self, worst: Duration) {
        let deadline = Instant::now() + RECOVERY_TIME_MAX;
        while self.latency().await > worst {
            assert!(Instant::now() < deadline, "messages still take longer than {worst:?}");
        }
    }

    /// The median of many round trips.
    async fn latency(&mut self) -> Duration {
        let mut all = Vec::with_capacity(ROUND_TRIPS);
        for _ in 0..ROUND_TRIPS {
            all.push(self.round_trip().await);
        }
        all.sort_unstable();
        all[ROUND_TRIPS / 2]
    }

    async fn round_trip(&mut self) -> Duration {
        self.sent += 1;
        let text = self.sent.to_string();
        let start = Instant::now();
        self.publisher.send(text.as_str()).await;
        assert_eq!(self.subscriber.receive_text().await, text);
        let took = start.elapsed();
        assert_eq!(self.publisher.receive_text().await, text);
        took
    }

    async fn memory(&self) -> f64 {
        self.node.metric("process_resident_memory_bytes").await
    }
}

fn mebibytes(bytes: f64) -> f64 {
    (bytes / f64::from(1 << 20)).round()
}
