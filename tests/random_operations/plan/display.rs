//! A plan as text, for its log.

use std::fmt;

use testkit::audit::channels;

use super::{PartKind, Plan, Worker};

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
            match &part.kind {
                PartKind::Publisher(it) => writeln!(
                    f,
                    "publisher on {} by {:?} every {:?}{}{}",
                    channels[it.channel].name,
                    it.path,
                    it.pause,
                    it.burst.map_or(String::new(), |burst| format!(", in bursts of {burst}")),
                    match (it.keyed, it.large) {
                        (false, false) => "",
                        (true, false) => ", with keys",
                        (false, true) => ", some large",
                        (true, true) => ", with keys, some large",
                    },
                ),
                PartKind::Worker(Worker { publisher: it, .. }) => writeln!(
                    f,
                    "worker of {} by {:?}: {:?}",
                    channels[it.channel].name, it.path, part.kind
                ),
                PartKind::Client(it) => {
                    let names: Vec<&str> =
                        it.channels.iter().map(|number| channels[*number].name.as_str()).collect();
                    writeln!(f, "client {:?} on {}", it.role, names.join(" "))
                }
                PartKind::Fault { at, fault } => writeln!(f, "at {at:?}: {fault:?}"),
            }
        })
    }
}
