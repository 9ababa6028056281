//! Faults of the TLS settings: a node with one does not start.

use std::path::Path;

use testkit::authority::Authority;
use testkit::node::{run_to_end, tidegate};

use super::tls_settings;

async fn faults(settings: &[String]) -> String {
    let mut command = tidegate(&["check"]);
    for setting in settings {
        command.arg("--set").arg(setting);
    }
    let ended = run_to_end(command).await;
    let errors = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(2), "{settings:?} {errors}");
    errors
}

#[tokio::test]
async fn faults_of_tls_settings_name_the_key_and_the_problem_for_both_listeners() {
    let authority = Authority::create();
    let (one, two) = (authority.issue("one"), authority.issue("two"));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let written = |name: &str, contents: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, contents).expect("the file is written");
        path
    };
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let locked = written("locked.key", locked);
    let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let no_key = written("no.key", no_key);
    let garbled = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let garbled = written("garbled.pem", garbled);
    let cut = written("cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    let nowhere = Path::new("/nowhere/file");

    for section in ["server", "internal"] {
        let set = |key: &str, path: &Path| format!("{section}.tls.{key}={}", path.display());
        let pair = |cert: &Path, key: &Path| vec![set("cert", cert), set("key", key)];
        let mut wrong_client_ca = tls_settings(section, &one).to_vec();
        wrong_client_ca.push(set("client_ca", &one.key));
        for (settings, key, what) in [
            (vec![set("cert", &one.cert)], "key", "is missing"),
            (vec![set("key", &one.key)], "cert", "is missing"),
            (
                vec![set("client_ca", &authority.certificate_file())],
                "client_ca",
                "has no effect without",
            ),
            (pair(nowhere, &one.key), "cert", "cannot be read: No such file"),
            (pair(&one.cert, nowhere), "key", "cannot be read: No such file"),
            (pair(&one.cert, &two.key), "key", "is not the key to the certificate"),
            (pair(&one.key, &one.key), "cert", "contains no certificate in PEM"),
            (pair(&one.cert, &one.cert), "key", "contains no private key in PEM"),
            (pair(&one.cert, &locked), "key", "is encrypted"),
            (pair(&one.cert, &no_key), "key", "cannot be used"),
            (pair(&garbled, &one.key), "cert", "contains no usable certificate"),
            (pair(&cut, &one.key), "cert", "is not valid PEM"),
            (wrong_client_ca, "client_ca", "contains no certificate in PEM"),
        ] {
            let errors = faults(&settings).await;
            let key = format!("{section}.tls.{key}");
            let fault = errors.lines().find(|line| line.contains(&key));
            assert!(fault.is_some_and(|line| line.contains(what)), "{key} {what:?}: {errors}");
        }
    }
}
