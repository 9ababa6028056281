//! Which events of a channel the backend gets.

use crate::settings::Section;

/// A set of kinds of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventKinds(u8);

impl EventKinds {
    pub const OCCUPIED: Self = Self(1);
    pub const VACATED: Self = Self(2);
    pub const JOIN: Self = Self(4);
    pub const LEAVE: Self = Self(8);
    pub const PUBLISHED: Self = Self(16);

    /// The kinds of `events = true`: one for each change, and none for each publication.
    pub const CHANGES: Self = Self(15);

    const NAMES: [(&str, Self); 5] = [
        ("occupied", Self::OCCUPIED),
        ("vacated", Self::VACATED),
        ("join", Self::JOIN),
        ("leave", Self::LEAVE),
        ("published", Self::PUBLISHED),
    ];

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let names = Self::NAMES.map(|(name, _)| name);
        let chosen = section.flag_or_names(
            "events",
            &names,
            "Which events of the channel the backend gets in `events.stream`: a list of kinds, or `true` for \
             all but `published`. `join` and `leave` need `presence`.",
        );
        let named = |name: &str| Self::NAMES.iter().find(|(other, _)| *other == name);
        match chosen {
            Ok(true) => Self::CHANGES,
            Ok(false) => Self::default(),
            Err(list) => {
                let kinds = list.iter().filter_map(|name| named(name)).map(|(_, kind)| kind.0);
                Self(kinds.fold(0, |all, kind| all | kind))
            }
        }
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the set has one of these kinds.
    pub fn has(self, some: Self) -> bool {
        self.0 & some.0 != 0
    }
}
