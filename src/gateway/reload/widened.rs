//! Settings that allow more than before. Rules are compared by the rules module.

use crate::settings::KeySpec;

/// Whether a key's new value allows more than its old one. Both in the format of `tidegate check`.
type IsWider = fn(old: &str, new: &str) -> bool;

const WIDER: [(&str, IsWider); 7] = [
    ("auth.mode", |_, new| new == "\"none\""),
    ("auth.require_expiry", |_, new| new == "false"),
    ("auth.issuer", |_, new| new.is_empty()),
    // Empty: any audience. Else each new one is additionally allowed.
    ("auth.audience", |old, new| new == "[]" || (old != "[]" && has_more(old, new))),
    ("server.origins", has_more),
    ("server.trusted_proxies", has_more),
    ("server.tls.client_ca", |_, new| new.is_empty()),
];

/// Each such key with its old and new value.
pub fn settings(old: &[KeySpec], new: &[KeySpec]) -> Vec<String> {
    let value = |known: &KeySpec| (known.key.clone(), known.effective.clone());
    let old: std::collections::HashMap<_, _> = old.iter().map(value).collect();
    let changed = new.iter().filter_map(|new| {
        let old = old.get(&new.key)?;
        (*old != new.effective).then_some((new.key.as_str(), old.as_str(), new.effective.as_str()))
    });
    let wider = changed.filter(|(key, old, new)| is_wider(key, old, new));
    wider.map(|(key, old, new)| format!("{key}: {} -> {}", shown(old), shown(new))).collect()
}

fn is_wider(key: &str, old: &str, new: &str) -> bool {
    if key.starts_with("limits.") {
        return is_lifted(key, new);
    }
    WIDER.iter().any(|(name, is_wider)| *name == key && is_wider(old, new))
}

/// Whether the limit is removed, or no longer enforced.
fn is_lifted(key: &str, new: &str) -> bool {
    match key {
        "limits.dry_run" => new == "true",
        // 0 means a computed limit for these.
        "limits.connections_max" | "limits.memory_max" => false,
        _ => matches!(new.trim_matches('"'), "0" | "0B" | "0s"),
    }
}

/// Whether the new list has an item that the old one lacks.
fn has_more(old: &str, new: &str) -> bool {
    let old: Vec<&str> = items(old).collect();
    items(new).any(|item| !old.contains(&item))
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.trim_matches(['[', ']']).split(", ").filter(|item| !item.is_empty())
}

fn shown(value: &str) -> &str {
    if value.is_empty() { "not set" } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    fn widened(old: &[&str], new: &[&str]) -> Vec<String> {
        let key_specs = |flags: &[&str]| {
            let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
            Config::load(&Sources { flags, ..Sources::default() }).unwrap().key_specs
        };
        settings(&key_specs(old), &key_specs(new))
    }

    #[test]
    fn settings_that_widen_access_are_named() {
        let key = r#"auth.keys=[{ alg = "HS256", secret = "hush" }]"#;
        for (old, new, said) in [
            ("auth.issuer=a", "demo=true", "auth.issuer: \"a\" -> not set"),
            (
                "auth.require_expiry=true",
                "auth.require_expiry=false",
                "auth.require_expiry: true -> false",
            ),
            ("auth.audience=a", "auth.audience=a,b", r#"auth.audience: ["a"] -> ["a", "b"]"#),
            ("auth.audience=a", "demo=true", r#"auth.audience: ["a"] -> []"#),
            ("server.origins=a.b", "server.origins=c.d", r#"server.origins: ["a.b"] -> ["c.d"]"#),
            (
                "server.trusted_proxies=",
                "server.trusted_proxies=::/0",
                r#"server.trusted_proxies: [] -> ["::/0"]"#,
            ),
            (
                "limits.bytes_per_second=1KiB",
                "demo=true",
                r#"limits.bytes_per_second: "1KiB" -> "0B""#,
            ),
            ("limits.dry_run=false", "limits.dry_run=true", "limits.dry_run: false -> true"),
            (key, "auth.mode=none", r#"auth.mode: "token" -> "none""#),
        ] {
            assert_eq!(widened(&[old], &[new]), [said]);
        }
    }

    #[test]
    fn settings_that_narrow_access_are_not_named() {
        for (old, new) in [
            ("auth.audience=a,b", "auth.audience=a"),
            ("auth.audience=", "auth.audience=a"),
            ("server.origins=a.b,c.d", "server.origins=c.d"),
            ("limits.connections_max=5", "limits.connections_max=0"),
            ("limits.connections_per_ip=0", "limits.connections_per_ip=7"),
            ("session.ping_interval=1s", "session.ping_interval=2s"),
        ] {
            assert_eq!(widened(&[old], &[new]), [""; 0], "{old} {new}");
        }
    }
}
