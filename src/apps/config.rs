//! The `[[pusher.apps]]` of the configuration.

use super::{App, Apps};
use crate::settings::{ListenAddress, Section, Settings};

/// The most applications, because the node makes nine rules for each where the configuration has none.
pub const APPS_MAX: usize = 100;

/// The longest prefix, in bytes, so that a channel of 200 bytes, the longest of Pusher's, fits behind it.
const PREFIX_BYTES_MAX: usize = 55;

/// The shortest secret beyond loopback, in bytes: one of fewer can be guessed from a signature, which every client sees.
const SECRET_BYTES_MIN: usize = 16;

const DOC: &str = "The applications whose clients and servers speak Pusher's protocol: `GET /app/{key}` and `/apps/{id}/…`. \
    Without any, the node does not speak it. If no rules are set, their channels get built-in ones, which `tidegate check` \
    shows.";

const EXAMPLE: &str = r#"[{ id = "1", key = "app-key", secret = "20 random bytes or more, as text", prefix = "shop:" }]"#;

/// The `[pusher]` section.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub apps: Apps,
}

impl Config {
    /// `listen`: the public listener. Beyond loopback, secrets must not be guessable.
    pub fn read(settings: &mut Settings, listen: ListenAddress) -> Self {
        let read = settings.tables("pusher.apps", APPS_MAX, EXAMPLE, DOC, AppTable::read);
        for (i, app) in read.iter().enumerate() {
            let fault = |settings: &mut Settings, key: &str, what: String| {
                settings.fault(&format!("pusher.apps[{i}].{key}"), what);
            };
            for (key, value) in [("id", &app.id), ("key", &app.key)] {
                let of = |other: &AppTable| {
                    if key == "id" { other.id.clone() } else { other.key.clone() }
                };
                let earlier =
                    read[..i].iter().position(|other| value.is_some() && of(other) == *value);
                if let Some(at) = earlier {
                    fault(settings, key, format!("pusher.apps[{at}] has the same {key}"));
                }
            }
            if let Some(at) = read[..i].iter().position(|other| other.prefix == app.prefix) {
                let what = format!(
                    "pusher.apps[{at}] has the same prefix, so the two would share their channels: give one of them \
                     a prefix of its own, such as \"shop:\""
                );
                fault(settings, "prefix", what);
            }
            if !listen.ip().is_loopback()
                && app.secret.as_ref().is_some_and(|it| it.len() < SECRET_BYTES_MIN)
            {
                let what = format!(
                    "has fewer than {SECRET_BYTES_MIN} bytes, and can be guessed from any signature; make one with \
                     openssl rand -hex 20"
                );
                fault(settings, "secret", what);
            }
        }
        let apps = read.into_iter().filter_map(|AppTable { id, key, secret, prefix }| {
            Some(App::new(id?, key?, &secret?, prefix.unwrap_or_default()))
        });
        Self { apps: Apps::new(apps.collect()) }
    }
}

/// The values of a table.
struct AppTable {
    id: Option<String>,
    key: Option<String>,
    secret: Option<String>,
    prefix: Option<String>,
}

impl AppTable {
    fn read(section: &mut Section<'_>) -> Self {
        const NAME: &str = "1 to 100 letters, digits, - and _, as text";
        let table = Self {
            id: section.text(
                "id",
                None,
                NAME,
                name,
                Clone::clone,
                "Required. The application's id in the paths of its server's requests. Some server libraries take digits only.",
            ),
            key: section.text(
                "key",
                None,
                NAME,
                name,
                Clone::clone,
                "Required. The key with which clients name the application. It is public.",
            ),
            secret: section.parsed(
                "secret",
                None,
                "1 to 255 bytes",
                |text| (1..=255).contains(&text.len()).then(|| text.to_owned()),
                |_| "***".to_owned(),
                "Required. The secret with which the application's server signs. At least 16 bytes if `server.listen` is \
                 not loopback.",
            ),
            prefix: section.text(
                "prefix",
                Some(""),
                "empty, or up to 55 bytes of letters, digits, -, _, . and :, of which the last is :",
                prefix,
                Clone::clone,
                "What the names of the application's channels begin with on the node: with `shop:`, its channel `news` \
                 is the channel `shop:news` to rules, services and other protocols. Two applications have different \
                 prefixes, so that neither reaches the other's channels.",
            ),
        };
        for key in ["id", "key", "secret"] {
            if !section.is_given(key) {
                section.fault(key, "must be given");
            }
        }
        table
    }
}

fn name(text: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    ((1..=100).contains(&text.len()) && text.bytes().all(is_plain)).then(|| text.to_owned())
}

fn prefix(text: &str) -> Option<String> {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    let fits = text.len() <= PREFIX_BYTES_MAX && text.bytes().all(is_plain);
    (fits && (text.is_empty() || text.ends_with(':'))).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::RawValue;

    fn read(apps: &str, listen: &str) -> Result<Apps, String> {
        let given = (RawValue::Text(apps.to_owned()), "test".to_owned());
        let mut settings = Settings::new([("pusher.apps".to_owned(), given)].into(), Vec::new());
        let config = Config::read(&mut settings, listen.parse().unwrap());
        settings.finish().map(|_| config.apps).map_err(|faults| faults.to_string())
    }

    #[test]
    fn applications_have_ids_keys_and_prefixes_of_their_own() {
        let one = r#"{ id = "1", key = "a", secret = "s" }"#;
        let other =
            |more: &str| format!(r#"[{one}, {{ id = "2", key = "b", secret = "s"{more} }}]"#);
        let apps = read(&other(r#", prefix = "shop:""#), "127.0.0.1:1").unwrap();
        assert_eq!(apps.of_key("b").unwrap().prefix, "shop:");
        assert_eq!(apps.of_id("1").unwrap().key, "a");
        assert!(apps.of_key("c").is_none());
        let faults = read(&other(""), "127.0.0.1:1").unwrap_err();
        assert!(
            faults.contains("pusher.apps[1].prefix") && faults.contains("\"shop:\""),
            "{faults}"
        );
        let twice = read(
            &format!(r#"[{one}, {{ id = "1", key = "a", secret = "s", prefix = "b:" }}]"#),
            "127.0.0.1:1",
        );
        let faults = twice.unwrap_err();
        assert!(
            faults.contains("has the same id") && faults.contains("has the same key"),
            "{faults}"
        );
    }

    #[test]
    fn an_application_without_its_parts_or_with_a_short_secret_beyond_loopback_is_a_fault() {
        let short = r#"[{ id = "1", key = "a", secret = "hush" }]"#;
        assert!(read(short, "127.0.0.1:1").is_ok());
        let faults = read(short, "0.0.0.0:1").unwrap_err();
        assert!(faults.contains("pusher.apps[0].secret") && !faults.contains("hush"), "{faults}");
        let faults = read(r#"[{ prefix = "shop" }]"#, "127.0.0.1:1").unwrap_err();
        for key in ["id", "key", "secret", "prefix"] {
            assert!(faults.contains(&format!("pusher.apps[0].{key}")), "{key}: {faults}");
        }
    }
}
