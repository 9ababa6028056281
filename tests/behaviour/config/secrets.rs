//! No error quotes what a file, a variable or a flag says: it names the place, and what is allowed there.

use super::{run, stderr};

const SECRET: &str = "hunter2-hunter2";

/// Texts that are no TOML, with the place and the key that the error names.
const NO_TOML: [(&str, &str, &str); 8] = [
    ("[internal]\napi_key = \"hunter2-hunter2\n", "line 2, column", "api_key"),
    ("[internal]\napi_key = hunter2-hunter2\n", "line 2, column 11", "api_key"),
    ("[internal]\napi_key = 'hunter2-hunter2' x\n", "line 2, column", "api_key"),
    ("[broker]\nurl = \"redis://u:hunter2-hunter2@h\\q\"\n", "line 2, column", "url"),
    ("[[auth.keys]]\nalg = \"HS256\"\nsecret = \"\"\"\nhunter2-hunter2\n", "line", "secret"),
    ("auth.keys = [{ secret = \"hunter2-hunter2\"", "line 1, column", "auth.keys"),
    ("demo = true\n\u{e4}hunter2-hunter2 = 1\n", "line 2, column", ""),
    ("[internal]\napi_key = 27182818284590452353602874\n", "line 2, column 11", "api_key"),
];

const NO_YAML: [(&str, &str, &str); 6] = [
    ("internal:\n  api_key: \"hunter2-hunter2\n", "line", "api_key"),
    ("internal:\n  api_key: @hunter2-hunter2\n", "line 2, column", "api_key"),
    ("internal:\n  api_key: hunter2-hunter2: x\n", "line 2, column", "api_key"),
    ("? [hunter2-hunter2]\n: 1\n", "one table of settings", ""),
    ("hunter2-hunter2\n", "one table of settings", ""),
    ("hunter2-hunter2: 1\nhunter2-hunter2: 2\n", "line 2, column", "given twice"),
];

#[tokio::test]
async fn are_in_no_error_of_a_text_that_cannot_be_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, texts) in [("bad.toml", &NO_TOML[..]), ("bad.yaml", &NO_YAML[..])] {
        let path = directory.path().join(name);
        let path = path.to_str().expect("text");
        for (text, place, key) in texts {
            std::fs::write(path, text).expect("it is written");
            let ended = run(&["serve", "--config", path], &[]).await;
            let told = stderr(&ended);
            assert_eq!(ended.status.code(), Some(2), "{text}: {told}");
            assert!(!told.contains("hunter2") && !told.contains("27182"), "{text}: {told}");
            for part in [path, place, key] {
                assert!(told.contains(part), "{part:?} of {text}: {told}");
            }
        }
    }
}

#[tokio::test]
async fn are_in_no_error_of_a_variable_or_a_flag() {
    let list = format!("[{{ alg = \"HS256\", secret = \"{SECRET} }}]");
    let ended = run(
        &["check", "--set", SECRET, "--set", &format!("session.ping_interval={SECRET}")],
        &[
            ("TIDEGATE__AUTH__KEYS", &list),
            ("TIDEGATE__BROKER__URL", &format!("redi://u:{SECRET}@h")),
            ("TIDEGATE__SERVER__TLS__CERT", &format!("-----BEGIN CERTIFICATE-----{SECRET}")),
            ("TIDEGATE__SERVER__TLS__KEY", &format!("-----BEGIN PRIVATE KEY-----{SECRET}")),
        ],
    )
    .await;
    let told = stderr(&ended);
    assert_eq!(ended.status.code(), Some(2), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    for part in [
        "--set, number 1",
        "session.ping_interval",
        "auth.keys (TIDEGATE__AUTH__KEYS)",
        "line 1, column",
        "broker.url",
        "server.tls.cert",
    ] {
        assert!(told.contains(part), "{part:?}: {told}");
    }
}

#[tokio::test]
async fn are_in_no_error_of_a_file_that_holds_a_key() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("key.pem");
    let path = path.to_str().expect("text");
    for text in [
        format!("-----BEGIN PRIVATE KEY {SECRET}\n"),
        format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n"),
        format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"),
        SECRET.to_owned(),
    ] {
        std::fs::write(path, &text).expect("it is written");
        for setting in ["server.tls.cert", "server.tls.key"] {
            let other = if setting.ends_with("cert") { "key" } else { "cert" };
            let ended = run(
                &[
                    "check",
                    "--set",
                    &format!("{setting}={path}"),
                    "--set",
                    &format!("server.tls.{other}={path}"),
                    "--set",
                    &format!("auth.keys=[{{ alg = \"ES256\", file = \"{path}\" }}]"),
                ],
                &[],
            )
            .await;
            let told = stderr(&ended);
            // Bytes may be shown as numbers too.
            let bytes = format!("{:?}", b"hunter2");
            let bytes = bytes.trim_matches(['[', ']']);
            assert_eq!(ended.status.code(), Some(2), "{told}");
            assert!(!told.contains("hunter2") && !told.contains(bytes), "{told}");
            assert!(told.contains("auth.keys[0].file"), "{told}");
        }
    }
}
