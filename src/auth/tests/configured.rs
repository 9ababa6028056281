//! What the `[auth]` section says and must not say.

use std::path::Path;

use super::*;
use crate::config::{Config as Whole, Sources};

fn load(flags: &[String]) -> Result<Whole, String> {
    let sources = Sources { flags: flags.to_vec(), ..Sources::default() };
    Whole::load(&sources).map_err(|faults| faults.to_string())
}

fn keys(keys: &str) -> String {
    format!("auth.keys=[{keys}]")
}

/// The path as TOML, of a file with these bytes.
fn file(directory: &Path, bytes: impl AsRef<[u8]>) -> String {
    let path = directory.join(format!("{}.key", rand::random::<u64>()));
    std::fs::write(&path, bytes).unwrap();
    format!("{path:?}")
}

#[test]
fn keys_turn_tokens_on_and_are_masked() {
    let secret = r#"{ kid = "a", alg = "HS256", secret = "hush-hush-hush-hush-hush-hush-hush" }"#;
    let config = load(&[keys(secret), "server.listen=0.0.0.0:0".into()]).unwrap();
    assert_eq!(config.auth.mode, Mode::Token);
    let effective = config.effective();
    assert!(effective.contains("[[auth.keys]]\nkid = \"a\"") && !effective.contains("hush"));
    assert!(!format!("{config:?}").contains("hush"));
    let off = load(&[keys(secret), "auth.mode=none".into()]).unwrap();
    assert!(
        !tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(async { Auth::start(&off.auth).is_on() })
    );
}

#[test]
fn each_fault_of_a_key_is_named_and_quotes_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let pair = Pair::new(Algorithm::ES256);
    let public = file(directory.path(), &pair.public);
    let short = file(directory.path(), "hush\n");
    let large = file(directory.path(), vec![b'x'; 70_000]);
    for (table, key, what) in [
        (r#"alg = "HS256""#.into(), "secret", "one of secret, file and jwks must be given"),
        (r#"alg = "HS256", secret = "hush""#.into(), "secret", "at least 8 bytes"),
        (r#"alg = "HS256", secret = "hush-hush", file = "x""#.into(), "file", "only one of"),
        (r#"secret = "hush-hush""#.into(), "alg", "must be given: one of HS256"),
        (r#"alg = "none", secret = "hush-hush""#.into(), "alg", "must be one of HS256"),
        (r#"alg = "RS256", secret = "hush-hush""#.into(), "secret", "is for HS256"),
        (r#"alg = "HS256", secret = "hush-hush", kid = """#.into(), "kid", "1 to 255 bytes"),
        (r#"alg = "HS256", secret = "hush-hush", ca_file = "x""#.into(), "ca_file", "jwks only"),
        (r#"alg = "HS256", secret = "hush-hush", kids = "x""#.into(), "kids", "no such key"),
        (r#"alg = "ES256", file = "/nowhere/key""#.into(), "file", "/nowhere/key cannot be read"),
        (format!(r#"alg = "ES256", file = {large}"#), "file", "more than 64 KiB"),
        (format!(r#"alg = "RS256", file = {public}"#), "file", "is no RSA key"),
        (format!(r#"alg = "HS256", file = {public}"#), "file", "is in PEM"),
        (format!(r#"alg = "HS256", file = {short}"#), "file", "fewer than 8 bytes"),
        (r#"jwks = "issuer.example/hush""#.into(), "jwks", "an address such as"),
        (r#"jwks = "ftp://issuer/hush""#.into(), "jwks", "an address such as"),
        (r#"jwks = "https://me:hush@issuer/""#.into(), "jwks", "without a user"),
        (r#"jwks = "http://issuer/", kid = "a""#.into(), "kid", "not for jwks"),
        (r#"jwks = "http://issuer/", alg = "HS256""#.into(), "alg", "not for jwks"),
        (r#"jwks = "https://issuer/", ca_file = "/nowhere/ca""#.into(), "ca_file", "/nowhere/ca"),
    ] {
        let table: String = table;
        let faults = load(&[keys(&format!("{{ {table} }}"))]).unwrap_err();
        let name = format!("auth.keys[0].{key}");
        let fault = faults.lines().find(|line| line.trim_start().starts_with(&name));
        let fault = fault.unwrap_or_else(|| panic!("{table}: {faults}"));
        assert!(fault.contains(what), "{what:?} is not in {fault}");
        assert!(!faults.contains("hush"), "{faults}");
    }
    let none = load(&["auth.mode=token".into()]).unwrap_err();
    assert!(none.contains("auth.mode") && none.contains("no auth.keys"), "{none}");
}

#[test]
fn keys_of_files_and_addresses_are_taken() {
    let directory = tempfile::tempdir().unwrap();
    let pair = Pair::new(Algorithm::EdDSA);
    let private = file(directory.path(), &pair.private);
    let secret = file(directory.path(), [SECRET, b"\r\n"].concat());
    let config = load(&[
        keys(&format!(
            r#"{{ alg = "EdDSA", file = {private}, kid = "ed" }}, {{ alg = "HS256", file = {secret} }},
               {{ jwks = "http://127.0.0.1:1/keys?hush", alg = "RS256" }}"#
        )
        .replace('\n', " ")),
        "auth.audience=one,two".into(),
    ])
    .unwrap();
    assert_eq!(config.auth.terms.audience, ["one", "two"]);
    assert!(!config.effective().contains("hush"));
    assert_eq!(config.auth.signer(None).unwrap().kid.as_deref(), Some("ed"));
    assert!(config.auth.signer(Some("none")).is_none());
    let [_, Source::Key { key, is_short, .. }, Source::Jwks(_)] = &config.auth.keys[..] else {
        panic!("{:?}", config.auth.keys);
    };
    let token = Pair::new(Algorithm::HS256).signed(r#"{"alg":"HS256"}"#, &claims(json!({})));
    assert!(check(&token, [&**key].into_iter(), &terms(), now()).is_ok() && !is_short);
}
