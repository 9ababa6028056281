//! No error quotes the content of a file, a variable or a flag: it names the place and the allowed values.

use super::{run, stderr};

const SECRET: &str = "hunter2-hunter2";

/// Texts of invalid TOML, with the place and the key that the error names.
const INVALID_TOML: [(&str, &str, &str); 8] = [
    ("[internal]\napi_key = \"hunter2-hunter2\n", "line 2, column", "api_key"),
    ("[internal]\napi_key = hunter2-hunter2\n", "line 2, column 11", "api_key"),
    ("[internal]\napi_key = 'hunter2-hunter2' x\n", "line 2, column", "api_key"),
    ("[broker]\nurl = \"redis://u:hunter2-hunter2@h\\q\"\n", "line 2, column", "url"),
    ("[[auth.keys]]\nalg = \"HS256\"\nsecret = \"\"\"\nhunter2-hunter2\n", "line", "secret"),
    ("auth.keys = [{ secret = \"hunter2-hunter2\"", "line 1, column", "auth.keys"),
    ("demo = true\n\u{e4}hunter2-hunter2 = 1\n", "line 2, column", ""),
    ("[internal]\napi_key = 27182818284590452353602874\n", "line 2, column 11", "api_key"),
];

const INVALID_YAML: [(&str, &str, &str); 6] = [
    ("internal:\n  api_key: \"hunter2-hunter2\n", "line", "api_key"),
    ("internal:\n  api_key: @hunter2-hunter2\n", "line 2, column", "api_key"),
    ("internal:\n  api_key: hunter2-hunter2: x\n", "line 2, column", "api_key"),
    ("? [hunter2-hunter2]\n: 1\n", "one table of settings", ""),
    ("hunter2-hunter2\n", "one table of settings", ""),
    ("hunter2-hunter2: 1\nhunter2-hunter2: 2\n", "line 2, column", "given twice"),
];

#[tokio::test]
async fn errors_of_invalid_toml_and_yaml_quote_no_secret() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, texts) in [("bad.toml", &INVALID_TOML[..]), ("bad.yaml", &INVALID_YAML[..])] {
        let path = directory.path().join(name);
        let path = path.to_str().expect("text");
        for (text, place, key) in texts {
            std::fs::write(path, text).expect("the file is written");
            let ended = run(&["serve", "--config", path], &[]).await;
            let errors = stderr(&ended);
            assert_eq!(ended.status.code(), Some(2), "{text}: {errors}");
            assert!(!errors.contains("hunter2") && !errors.contains("27182"), "{text}: {errors}");
            for part in [path, place, key] {
                assert!(errors.contains(part), "{part:?} of {text}: {errors}");
            }
        }
    }
}

#[tokio::test]
async fn errors_of_variables_and_flags_quote_no_secret() {
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
    let errors = stderr(&ended);
    assert_eq!(ended.status.code(), Some(2), "{errors}");
    assert!(!errors.contains("hunter2"), "{errors}");
    for part in [
        "--set, number 1",
        "session.ping_interval",
        "auth.keys (TIDEGATE__AUTH__KEYS)",
        "line 1, column",
        "broker.url",
        "server.tls.cert",
    ] {
        assert!(errors.contains(part), "{part:?}: {errors}");
    }
}

#[tokio::test]
async fn errors_of_certificate_and_key_files_quote_no_secret() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("key.pem");
    let path = path.to_str().expect("text");
    for text in [
        format!("-----BEGIN PRIVATE KEY {SECRET}\n"),
        format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n"),
        format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"),
        SECRET.to_owned(),
    ] {
        std::fs::write(path, &text).expect("the file is written");
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
            let errors = stderr(&ended);
            // An error might print the bytes as numbers.
            let bytes = format!("{:?}", b"hunter2");
            let bytes = bytes.trim_matches(['[', ']']);
            assert_eq!(ended.status.code(), Some(2), "{errors}");
            assert!(!errors.contains("hunter2") && !errors.contains(bytes), "{errors}");
            assert!(errors.contains("auth.keys[0].file"), "{errors}");
        }
    }
}
