//! Applications: services that sign with a secret what their clients may do, and whose channels are apart from those of
//! other applications.

mod config;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::{constant_time, hmac};

pub use self::config::{APPS_MAX, Config};

/// An application.
pub struct App {
    pub id: String,
    /// Names the application in what clients send. Not a secret.
    pub key: String,
    /// What the names of its channels begin with on the node. Empty, or ends with `:`.
    pub prefix: String,
    secret: hmac::Key,
}

/// The configured applications, each with its own id, key and prefix. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Apps(Arc<[Arc<App>]>);

/// Bytes of an HMAC-SHA256.
const SIGNATURE_BYTES: usize = 32;

impl App {
    pub fn new(id: String, key: String, secret: &str, prefix: String) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        Self { id, key, prefix, secret }
    }

    /// Whether the application has signed the text, by a signature in hexadecimal digits. Compares in constant time.
    pub fn has_signed(&self, text: &[u8], signature: &str) -> bool {
        let signed = hmac::sign(&self.secret, text);
        read_hex(signature)
            .is_some_and(|it| constant_time::verify_slices_are_equal(&it, signed.as_ref()).is_ok())
    }
}

fn read_hex(text: &str) -> Option<[u8; SIGNATURE_BYTES]> {
    let mut bytes = [0; SIGNATURE_BYTES];
    if text.len() != 2 * SIGNATURE_BYTES {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
    }
    Some(bytes)
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "App({:?}, {:?}, ***)", self.id, self.prefix)
    }
}

impl Apps {
    pub fn new(apps: Vec<App>) -> Self {
        Self(apps.into_iter().map(Arc::new).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn of_key(&self, key: &str) -> Option<&Arc<App>> {
        self.0.iter().find(|app| app.key == key)
    }

    pub fn of_id(&self, id: &str) -> Option<&Arc<App>> {
        self.0.iter().find(|app| app.id == id)
    }

    /// The rules of their channels where the configuration has none, as tables in TOML. A channel of one of the kinds that
    /// applications sign for is open only with a signature, or a token that lists it.
    pub fn rules(&self) -> Vec<String> {
        const SIGNED: &str = r#"subscribe = "token", publish = "token""#;
        const READ: &str = r#"subscribe = "token", publish = "nobody""#;
        const OPEN: &str = r#"subscribe = "anyone", publish = "nobody""#;
        const PRESENCE: &str = "presence = true";
        const LAST: &str = r#"history = { size = 1, age = "30m" }"#;
        let kinds = [
            ("presence-cache-*", [SIGNED, PRESENCE, LAST].join(", ")),
            ("presence-*", [SIGNED, PRESENCE].join(", ")),
            ("private-encrypted-cache-*", [READ, LAST].join(", ")),
            ("private-encrypted-*", READ.to_owned()),
            ("private-cache-*", [SIGNED, LAST].join(", ")),
            ("private-*", SIGNED.to_owned()),
            ("#server-to-user-*", READ.to_owned()),
            ("cache-*", [OPEN, LAST].join(", ")),
            ("*", OPEN.to_owned()),
        ];
        let each = self.0.iter().flat_map(|app| {
            let table = |(kind, policy): &(&str, String)| {
                format!(r#"{{ pattern = "{}{kind}", {policy} }}"#, app.prefix)
            };
            kinds.iter().map(table).collect::<Vec<_>>()
        });
        each.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hmac_of_the_text_by_the_secret_is_a_signature() {
        // The example of Pusher's documentation of channel authorization.
        let app = App::new(
            "1".into(),
            "278d425bdf160c739803".into(),
            "7ad3773142a6692b25b8",
            String::new(),
        );
        let text = b"1234.1234:private-foobar";
        let signature = "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4";
        assert!(app.has_signed(text, signature));
        assert!(app.has_signed(text, &signature.to_uppercase()));
        let (last, longer) = (signature.replace("c3a4", "c3a5"), format!("{signature}00"));
        for wrong in ["", "58df", &last, &longer, &"é".repeat(32), &"g".repeat(64)] {
            assert!(!app.has_signed(text, wrong), "{wrong}");
        }
        assert!(!app.has_signed(b"1234.1234:private-foo", signature));
        assert!(!format!("{app:?}").contains("7ad3773142a6692b25b8"));
    }
}
