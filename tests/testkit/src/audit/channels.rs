//! The channels of a run and the rules of the nodes for them.

use std::fmt::Write;

/// A channel by its place in [`all`].
pub type ChannelNumber = usize;

/// The history that its rule keeps, and what the operations do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HistoryKind {
    /// No history.
    Plain,
    /// More history than a client can miss during any fault.
    Long,
    /// A history so short that it may be trimmed while a client is disconnected.
    Short,
    /// A stream that expires a second after the last publication.
    Expiring,
    /// A long history whose stream the operations delete or trim.
    Deleted,
    /// A history that configuration reloads enable, disable and resize.
    Toggled,
    /// A run, which ends when one of its workers ends it.
    Run,
    /// A run with a lease of a second, which may also end because its worker was too late.
    Leased,
}

impl HistoryKind {
    /// Whether its rule always keeps history.
    pub fn keeps_history(self) -> bool {
        !matches!(self, Self::Plain | Self::Toggled)
    }

    /// Whether nothing is missing in its history unless Redis loses its data.
    pub fn keeps_everything(self) -> bool {
        self == Self::Long || self.is_run()
    }

    pub fn is_run(self) -> bool {
        matches!(self, Self::Run | Self::Leased)
    }
}

#[derive(Clone, Debug)]
pub struct AuditChannel {
    pub name: String,
    pub kind: HistoryKind,
}

/// All channels of a run.
pub fn all() -> Vec<AuditChannel> {
    let kinds = [
        ("n:1", HistoryKind::Plain),
        ("n:2", HistoryKind::Plain),
        ("h:1", HistoryKind::Long),
        ("h:2", HistoryKind::Long),
        ("s:1", HistoryKind::Short),
        ("e:1", HistoryKind::Expiring),
        ("e:2", HistoryKind::Expiring),
        ("d:1", HistoryKind::Deleted),
        ("t:1", HistoryKind::Toggled),
        ("t:2", HistoryKind::Toggled),
        ("r:1", HistoryKind::Run),
        ("r:2", HistoryKind::Run),
        ("r:3", HistoryKind::Run),
        ("l:1", HistoryKind::Leased),
    ];
    kinds.map(|(name, kind)| AuditChannel { name: name.to_owned(), kind }).to_vec()
}

/// The history size of the toggled channels' rule in each variant of [`settings`].
const TOGGLED: &[Option<usize>] = &[Some(1000), None, Some(20), None, Some(5000)];

/// The number of rule variants that reloads choose from.
pub const VARIANTS: usize = TOGGLED.len();

/// The outbound queue of every connection: small, so that a client that does not read is closed soon.
pub const QUEUE_BYTES_MAX: usize = 256 << 10;

/// A node's configuration file with the given variant of the rules.
pub fn settings(variant: usize) -> String {
    let mut text = format!(
        "[drain]\ndelay = \"100ms\"\nperiod = \"500ms\"\n[session]\nqueue_bytes_max = \"{QUEUE_BYTES_MAX}B\"\n"
    );
    let mut rule = |pattern: &str, history: Option<(usize, &str)>, lease: Option<&str>| {
        let _ = write!(
            text,
            "[[rules]]\npattern = \"{pattern}\"\nsubscribe = \"anyone\"\npublish = \"anyone\"\n"
        );
        if let Some((size, age)) = history {
            let _ = writeln!(text, "history = {{ size = {size}, age = \"{age}\" }}");
        }
        if let Some(lease) = lease {
            let _ = writeln!(text, "run = {{ lease = \"{lease}\" }}");
        }
    };
    rule("n:*", None, None);
    rule("h:*", Some((20_000, "10m")), None);
    rule("s:*", Some((10, "10m")), None);
    rule("e:*", Some((1000, "1s")), None);
    rule("d:*", Some((5000, "10m")), None);
    rule("t:*", TOGGLED[variant].map(|size| (size, "10m")), None);
    rule("r:*", Some((20_000, "10m")), Some("10m"));
    rule("l:*", Some((20_000, "10m")), Some("1s"));
    text
}
