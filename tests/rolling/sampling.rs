//! Samples the metrics of nodes while another node drains, to measure the cost of its clients' reconnects.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use testkit::curve::Curve;
use testkit::node::metrics;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The pause between two samples.
const INTERVAL: Duration = Duration::from_millis(250);

/// The shortest time for which the CPU use is reported.
const CPU_TIME_MIN: Duration = Duration::from_secs(20);

const NAMES: [&str; 4] = [
    "tidegate_connections_opened_total",
    "tidegate_connections",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
];

/// The samples of one node.
pub struct NodeSamples {
    samples: Vec<Sample>,
}

struct Sample {
    /// The time since the start of sampling.
    at: Duration,
    opened: f64,
    connections: f64,
    bytes: f64,
    cpu_seconds: f64,
}

impl NodeSamples {
    /// The successful handshakes.
    pub fn opened(&self) -> Curve {
        Curve::from_samples(self.samples.iter().map(|it| (it.at, it.opened)))
    }

    /// The highest number of connections.
    pub fn connections_max(&self) -> f64 {
        self.samples.iter().map(|it| it.connections).fold(0., f64::max)
    }

    /// The highest resident memory, in MiB.
    pub fn memory_max(&self) -> f64 {
        self.samples.iter().map(|it| it.bytes).fold(0., f64::max) / f64::from(1 << 20)
    }

    /// The average number of cores in use. `None` if the samples cover less than `CPU_TIME_MIN`, because the
    /// node's counter has whole seconds.
    pub fn cores(&self) -> Option<f64> {
        let (first, last) = (self.samples.first()?, self.samples.last()?);
        let time = last.at - first.at;
        let used = (last.cpu_seconds - first.cpu_seconds) / time.as_secs_f64();
        (time >= CPU_TIME_MIN).then_some(used)
    }
}

/// Sampling in progress.
pub struct Sampling {
    pub started: Instant,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<NodeSamples>>,
}

impl Sampling {
    /// Starts to sample the nodes with these internal addresses, all of which must be running.
    pub fn start(nodes: impl IntoIterator<Item = SocketAddr>) -> Self {
        let (started, stop) = (Instant::now(), watch::Sender::new(false));
        let sample_one = |node| tokio::spawn(sample_node(node, started, stop.subscribe()));
        let tasks = nodes.into_iter().map(sample_one).collect();
        Self { started, stop, tasks }
    }

    /// Ends sampling after a last sample of each node.
    pub async fn end(self) -> Vec<NodeSamples> {
        self.stop.send_replace(true);
        let mut all = Vec::new();
        for task in self.tasks {
            all.push(task.await.expect("the node returns its metrics"));
        }
        all
    }
}

async fn sample_node(
    node: SocketAddr,
    started: Instant,
    mut stop: watch::Receiver<bool>,
) -> NodeSamples {
    let mut samples = Vec::new();
    loop {
        let last = *stop.borrow_and_update();
        let requested_at = started.elapsed();
        let [opened, connections, bytes, cpu_seconds] = metrics(node, NAMES).await;
        // The node read its counters between the request and the response.
        let at = (requested_at + started.elapsed()) / 2;
        samples.push(Sample { at, opened, connections, bytes, cpu_seconds });
        if last {
            return NodeSamples { samples };
        }
        // After the pause or after the stop, one more sample follows.
        let _ = timeout(INTERVAL, stop.changed()).await;
    }
}
