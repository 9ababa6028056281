//! Runs: channels whose stream has a beginning and an end, such as an answer that is generated token by token.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::publication::Channel;
use crate::settings::Section;

/// How the runs of a rule's channels end, and how their publications are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// A run whose worker neither publishes nor renews for so long ends as abandoned: 1 s to 1 h.
    pub lease: Duration,
    /// None: every publication is delivered as it was published.
    pub merge: Option<Merge>,
}

/// How publications are joined for subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merge {
    /// At most one joined publication is delivered in this time: 10 ms to 5 s.
    pub rollup: Duration,
}

/// The channel that gets what clients publish on a run's channel: a name with `{name}` in it, which stands for the
/// run's channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlChannel(Arc<str>);

/// The control channel of a run cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoControl;

const NAME: &str = "{name}";

/// The default of `rollup`.
const ROLLUP: Duration = Duration::from_millis(40);

impl ControlChannel {
    const ALLOWED: &str =
        "a channel name with {name} and other text in it, such as run-control:{name}";

    fn parse(text: &str) -> Option<Self> {
        let is_whole = text.matches(NAME).count() == 1 && text != NAME;
        let fits = Channel::new(&text.replace(NAME, "x")).is_ok();
        (is_whole && fits).then(|| Self(text.into()))
    }

    /// The control channel of a run. None: its name would be too long.
    pub fn of(&self, run: &Channel) -> Option<Channel> {
        Channel::new(&self.0.replace(NAME, run.as_str())).ok()
    }
}

impl fmt::Display for ControlChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The keys below `run`.
const KEYS: [&str; 4] = ["run.lease", "run.merge", "run.rollup", "run.control"];

/// Reads `run` of a rule. `keeps_history`: the rule has `history`; `is_latest`: it has `delivery = "latest"`.
pub fn read(
    section: &mut Section<'_>,
    keeps_history: bool,
    is_latest: bool,
) -> (Option<Run>, Option<ControlChannel>) {
    section.refuse("run", "must be a table, such as { lease = \"30s\" }");
    let is_given = KEYS.iter().any(|key| section.is_given(key));
    let lease = section.duration_if_given(
        "run.lease",
        Duration::from_secs(1)..=Duration::from_secs(60 * 60),
        "The channel carries runs: streams with an end, which a worker publishes. A run whose worker neither \
         publishes nor renews for so long ends with the reason `abandoned`. Needs `history`.",
    );
    let merges = section.text(
        "run.merge",
        None,
        "text",
        |text| (text == "text").then_some(()),
        |()| "text".to_owned(),
        "`text`: subscribers get the run's texts joined, which are the same text together.",
    );
    let rollup = section.duration_if_given(
        "run.rollup",
        Duration::from_millis(10)..=Duration::from_secs(5),
        "With `merge`: a subscriber gets at most one joined publication in this time. If not set, `40ms`.",
    );
    let control = section.text(
        "run.control",
        None,
        ControlChannel::ALLOWED,
        ControlChannel::parse,
        ControlChannel::to_string,
        "What clients publish on the run's channel is published on this channel instead, for the run's worker. \
         `{name}` stands for the run's channel. If not set, what clients publish is part of the run.",
    );
    if is_given && !section.is_given("run.lease") {
        section.fault("run.lease", "must be given if run is: a duration, 1s to 1h");
    }
    if section.is_given("run.rollup") && !section.is_given("run.merge") {
        section.fault("run.rollup", "has no effect without run.merge = \"text\"");
    }
    if is_given && !keeps_history {
        section.fault("run", "needs history, from which late subscribers get the run");
    }
    if is_given && is_latest {
        section.fault("run", "does not go with delivery = \"latest\", which skips publications");
    }
    let merge = merges.map(|()| Merge { rollup: rollup.unwrap_or(ROLLUP) });
    (lease.map(|lease| Run { lease, merge }), control)
}

/// Reads `streams` of a rule.
pub fn read_streams(section: &mut Section<'_>, has_runs: bool, has_control: bool) -> bool {
    let streams = section.flag(
        "streams",
        Some(false),
        "Whether clients may use the channel as a durable stream, at `/streams/{channel}`: those that may publish \
         may create, append, close and delete it, and those that may subscribe may read it. Needs `history` and \
         `run`; the lease does not end a stream that a client has created.",
    );
    let streams = streams.unwrap_or_default();
    if streams && !has_runs {
        section
            .fault("streams", "needs run, which gives a stream its end: run = { lease = \"1m\" }");
    }
    if streams && has_control {
        section
            .fault("streams", "does not go with run.control, which keeps clients out of the run");
    }
    streams
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_channel_has_the_name_of_its_run_and_other_text() {
        let control = ControlChannel::parse("run-control:{name}").unwrap();
        let of = |name: &str| control.of(&Channel::new(name).unwrap());
        assert_eq!(of("run:1"), Channel::new("run-control:run:1").ok());
        assert_eq!(of(&"x".repeat(255)), None);
        for bad in ["", "{name}", "control", "{name}{name}", "a b{name}", &"x".repeat(300)] {
            assert_eq!(ControlChannel::parse(bad), None, "{bad}");
        }
    }
}
