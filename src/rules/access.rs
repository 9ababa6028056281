//! Who a rule allows.

use crate::settings::Section;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    #[default]
    Anyone,
    /// Clients with a valid token.
    User,
    /// Clients with a token that lists the channel.
    Token,
    Nobody,
}

impl Access {
    const CHOICES: [(&str, Self); 4] = [
        ("anyone", Self::Anyone),
        ("user", Self::User),
        ("token", Self::Token),
        ("nobody", Self::Nobody),
    ];

    pub(super) const WORDS: &str = "anyone, user, token or nobody";

    /// `tokens`: whether clients authenticate with tokens. The default is then `token`.
    pub(super) fn read(
        section: &mut Section<'_>,
        key: &str,
        tokens: bool,
        doc: &'static str,
    ) -> Self {
        let default = if tokens { "token" } else { "anyone" };
        section.choice(key, default, &Self::CHOICES, doc)
    }

    /// Larger for more clients.
    pub(super) fn breadth(self) -> u8 {
        match self {
            Self::Nobody => 0,
            Self::Token => 1,
            Self::User => 2,
            Self::Anyone => 3,
        }
    }

    pub fn as_str(self) -> &'static str {
        let found = Self::CHOICES.iter().find(|(_, access)| *access == self);
        found.map_or("", |(word, _)| word)
    }
}
