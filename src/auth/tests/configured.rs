//! Valid and invalid `[auth]` sections.

use std::path::Path;

use super::*;
use crate::settings::{ClientListener, RawValue, Settings};

/// Reads flags; returns the configuration and what `tidegate check` would print.
fn load(flags: &[String], listen: &str) -> Result<(Config, String), String> {
    let given = flags.iter().map(|flag| {
        let (key, value) = flag.split_once('=').unwrap();
        (key.to_owned(), (RawValue::Text(value.to_owned()), "--set".to_owned()))
    });
    let mut settings = Settings::new(given.collect(), Vec::new());
    let config = Config::read(
        &mut settings,
        ClientListener { key: "server.listen", address: listen.parse().unwrap() },
    );
    let known = settings.finish().map_err(|faults| faults.to_string())?;
    let lines = known.iter().map(|known| format!("{} = {}\n", known.key, known.effective));
    Ok((config, lines.collect()))
}

const LOOPBACK: &str = "127.0.0.1:8080";
const OPEN: &str = "0.0.0.0:8080";

fn keys(keys: &str) -> String {
    format!("auth.keys=[{keys}]")
}

/// Writes a file with these bytes; returns its path as TOML.
fn file(directory: &Path, bytes: impl AsRef<[u8]>) -> String {
    let path = directory.join(format!("{}.key", rand::random::<u64>()));
    std::fs::write(&path, bytes).unwrap();
    format!("{path:?}")
}

#[test]
fn keys_turn_tokens_on_and_are_masked() {
    let secret = r#"{ kid = "a", alg = "HS256", secret = "hush-hush-hush-hush-hush-hush-hush" }"#;
    let (config, effective) = load(&[keys(secret)], OPEN).unwrap();
    assert_eq!(config.mode, Mode::Token);
    assert!(effective.contains("auth.keys[0].kid = \"a\""), "{effective}");
    assert!(effective.contains("auth.keys[0].secret = \"***\""), "{effective}");
    assert!(!effective.contains("hush") && !format!("{config:?}").contains("hush"));
    let (off, _) = load(&[keys(secret), "auth.mode=none".into()], OPEN).unwrap();
    assert_eq!(off.mode, Mode::None);
}

#[test]
fn a_short_secret_is_allowed_on_loopback_only() {
    let short = keys(r#"{ alg = "HS256", secret = "hush" }"#);
    assert!(load(std::slice::from_ref(&short), LOOPBACK).unwrap().0.keys[0].is_short());
    let open = load(&[short], OPEN).unwrap_err();
    assert!(open.contains("fewer than 32 bytes") && !open.contains("hush"), "{open}");
}

#[test]
fn an_unsafe_or_keyless_auth_mode_is_a_fault() {
    assert_eq!(load(&[], LOOPBACK).unwrap().0.mode, Mode::None);
    let open = load(&[], OPEN).unwrap_err();
    assert!(open.contains("auth.keys") && open.contains("auth.mode = \"none\""), "{open}");
    for flag in ["auth.mode=token", "auth.keys=[]"] {
        let keyless = load(&[flag.into()], LOOPBACK).unwrap_err();
        assert!(
            keyless.contains("auth.mode") && keyless.contains("auth.keys has no key"),
            "{keyless}"
        );
    }
}

#[test]
fn each_fault_of_a_key_is_named_and_quotes_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let pair = SigningPair::new(Algorithm::ES256);
    let public = file(directory.path(), &pair.public);
    let short = file(directory.path(), "\n");
    let large = file(directory.path(), vec![b'x'; 70_000]);
    for (table, key, what) in [
        (r#"alg = "HS256""#.into(), "secret", "one of secret, file and jwks must be given"),
        (r#"alg = "HS256", secret = """#.into(), "secret", "at least one byte"),
        (r#"alg = "HS256", secret = "hush-hush", file = "x""#.into(), "file", "only one of"),
        (r#"secret = "hush-hush""#.into(), "alg", "must be given: one of HS256"),
        (r#"alg = "none", secret = "hush-hush""#.into(), "alg", "must be one of HS256"),
        (r#"alg = "RS256", secret = "hush-hush""#.into(), "secret", "is for HS256"),
        (r#"alg = "HS256", secret = "hush-hush", kid = """#.into(), "kid", "1 to 255 bytes"),
        (r#"alg = "HS256", secret = "hush-hush", ca_file = "x""#.into(), "ca_file", "jwks only"),
        (r#"alg = "HS256", secret = "hush-hush", kids = "x""#.into(), "kids", "no such key"),
        (r#"alg = "ES256", file = "/nowhere/key""#.into(), "file", "cannot be read: No such file"),
        (format!(r#"alg = "ES256", file = {large}"#), "file", "larger than 64 KiB"),
        (format!(r#"alg = "RS256", file = {public}"#), "file", "is not an RSA key"),
        (format!(r#"alg = "HS256", file = {public}"#), "file", "is in PEM"),
        (format!(r#"alg = "HS256", file = {short}"#), "file", "is empty"),
        (r#"jwks = "issuer.example/hush""#.into(), "jwks", "an address such as"),
        (r#"jwks = "ftp://issuer/hush""#.into(), "jwks", "an address such as"),
        (r#"jwks = "https://me:hush@issuer/""#.into(), "jwks", "without a user"),
        (r#"jwks = "http://issuer/", kid = "a""#.into(), "kid", "not for jwks"),
        (r#"jwks = "http://issuer/", alg = "HS256""#.into(), "alg", "not for jwks"),
        (r#"jwks = "https://issuer/", ca_file = "/nowhere/ca""#.into(), "ca_file", "No such file"),
        (r#"alg = "HS256", file = "hush-hush""#.into(), "file", "cannot be read"),
    ] {
        let table: String = table;
        let faults = load(&[keys(&format!("{{ {table} }}"))], LOOPBACK).unwrap_err();
        let name = format!("auth.keys[0].{key}");
        let fault = faults.lines().find(|line| line.trim_start().starts_with(&name));
        let fault = fault.unwrap_or_else(|| panic!("{table}: {faults}"));
        assert!(fault.contains(what), "{what:?} is not in {fault}");
        assert!(!faults.contains("hush"), "{faults}");
    }
}

#[test]
fn keys_from_files_and_urls_are_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let pair = SigningPair::new(Algorithm::EdDSA);
    let private = file(directory.path(), &pair.private);
    let secret = file(directory.path(), [SECRET, b"\r\n"].concat());
    let tables = [
        format!(r#"{{ alg = "EdDSA", file = {private}, kid = "ed" }}"#),
        format!(r#"{{ alg = "HS256", file = {secret} }}"#),
        r#"{ jwks = "http://127.0.0.1:1/keys?hush", alg = "RS256" }"#.to_owned(),
    ];
    let flags = [keys(&tables.join(", ")), "auth.audience=one,two".into()];
    let (config, effective) = load(&flags, LOOPBACK).unwrap();
    assert_eq!(config.required_claims.audience, ["one", "two"]);
    assert!(!effective.contains("hush") && !format!("{config:?}").contains("hush"));
    assert_eq!(config.signer(None).unwrap().kid.as_deref(), Some("ed"));
    assert!(config.signer(Some("none")).is_none());
    let [_, KeySource::Key { key, is_short, .. }, KeySource::Jwks(_)] = &config.keys[..] else {
        panic!("{:?}", config.keys);
    };
    let token = SigningPair::new(Algorithm::HS256).signed(r#"{"alg":"HS256"}"#, &claims(json!({})));
    assert!(check(&token, [&**key].into_iter(), &terms(), now()).is_ok() && !is_short);
}
