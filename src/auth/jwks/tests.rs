//! An issuer on a real socket whose answers the test sets.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::auth::sign::Signing;
use crate::auth::{Auth, Config, Identity, KeySource, Mode, RequiredClaims, Signer, TokenRefused};

/// The issuer's answer.
#[derive(Clone)]
enum IssuerReply {
    Text(String),
    /// The text, without closing the connection.
    Stall(&'static str),
    HangUp,
}

struct Issuer {
    url: String,
    reply: Arc<Mutex<IssuerReply>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start(reply: IssuerReply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json?secret=hush", listener.local_addr().unwrap());
        let reply = Arc::new(Mutex::new(reply));
        let asked = Arc::new(AtomicUsize::new(0));
        let issuer = Self { url, reply: reply.clone(), asked: asked.clone() };
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (reply, asked) = (reply.clone(), asked.clone());
                tokio::spawn(async move {
                    let mut head = [0; 2048];
                    let bytes = stream.read(&mut head).await.unwrap();
                    let head = String::from_utf8_lossy(&head[..bytes]).into_owned();
                    assert!(head.starts_with("GET /jwks.json?secret=hush HTTP/1.1\r\n"), "{head}");
                    asked.fetch_add(1, Ordering::SeqCst);
                    let reply = reply.lock().unwrap().clone();
                    match reply {
                        IssuerReply::Text(text) => _ = stream.write_all(text.as_bytes()).await,
                        IssuerReply::HangUp => {}
                        IssuerReply::Stall(text) => {
                            _ = stream.write_all(text.as_bytes()).await;
                            std::future::pending::<()>().await;
                        }
                    }
                });
            }
        });
        issuer
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn answers(&self, reply: IssuerReply) {
        *self.reply.lock().unwrap() = reply;
    }

    fn jwks(&self) -> Jwks {
        let (uri, _) = JwksUrl::parse(&self.url).unwrap();
        Jwks { address: JwksUrl { uri, tls: None }, only: None }
    }

    fn config(&self) -> Config {
        let second = Duration::from_secs(1);
        Config {
            mode: Mode::Token,
            required_claims: RequiredClaims { require_expiry: false, ..RequiredClaims::default() },
            timeout: second,
            revocation_age: second,
            keys: vec![KeySource::Jwks(self.jwks())],
        }
    }
}

/// A key of an issuer, and the signer of its tokens.
struct IssuerKey {
    kid: &'static str,
    jwk: Value,
    signer: Signer,
}

fn pair(kid: &'static str) -> IssuerKey {
    let pair = Ed25519KeyPair::generate().unwrap();
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig", "x": x });
    let signer = Signer::new(Some(kid), Algorithm::EdDSA, Signing::Ed(Box::new(pair)));
    IssuerKey { kid, jwk, signer }
}

impl IssuerKey {
    fn token(&self) -> String {
        self.signer.token(&json!({ "sub": self.kid })).unwrap()
    }
}

fn publishing(pairs: &[&IssuerKey], headers: &str) -> IssuerReply {
    let keys: Vec<_> = pairs.iter().map(|pair| pair.jwk.clone()).collect();
    let body = json!({ "keys": keys }).to_string();
    IssuerReply::Text(format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    ))
}

fn user(identified: Result<Identity, TokenRefused>) -> Result<String, TokenRefused> {
    identified.map(|identity| identity.user.unwrap().to_string())
}

/// Waits until the task has ended this many fetches.
async fn rounds(fetching: &Fetching, rounds: u64) {
    let mut progress = fetching.progress.clone();
    progress.wait_for(|progress| progress.rounds >= rounds).await.unwrap();
}

#[tokio::test]
async fn the_first_token_waits_for_the_keys() {
    let ada = pair("ada");
    let issuer = Issuer::start(publishing(&[&ada], "")).await;
    let auth = Auth::start(&issuer.config());
    assert_eq!(user(auth.identify(&ada.token()).await), Ok("ada".into()));
    let other = pair("ada");
    assert_eq!(user(auth.identify(&other.token()).await), Err(TokenRefused::SIGNATURE));
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn a_new_key_is_fetched_once_for_all_waiting_checks() {
    let (old, new) = (pair("old"), pair("new"));
    let issuer = Issuer::start(publishing(&[&old], "")).await;
    let auth = Auth::start(&issuer.config());
    assert_eq!(user(auth.identify(&old.token()).await), Ok("old".into()));
    issuer.answers(publishing(&[&old, &new], ""));
    assert_eq!(
        user(auth.identify(&new.token()).await),
        Err(TokenRefused::KEY),
        "asked a moment ago"
    );
    tokio::time::pause();
    tokio::time::advance(REQUEST_INTERVAL_MIN).await;
    tokio::time::resume();
    let token = new.token();
    let all = futures_util::future::join_all((0..100).map(|_| auth.identify(&token))).await;
    for identified in all {
        assert_eq!(user(identified), Ok("new".into()));
    }
    for i in 0..100 {
        let foreign = old.signer.token(&json!({ "i": i })).unwrap();
        let (_, rest) = foreign.split_once('.').unwrap();
        let header = json!({ "alg": "EdDSA", "kid": i.to_string() }).to_string();
        let foreign = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
        assert_eq!(user(auth.identify(&foreign).await), Err(TokenRefused::KEY));
    }
    assert_eq!(issuer.asked(), 2);
    // A removed key is no longer valid, even for cached tokens.
    issuer.answers(publishing(&[&new], ""));
    assert_eq!(user(auth.identify(&old.token()).await), Ok("old".into()));
    tokio::time::pause();
    tokio::time::advance(REQUEST_INTERVAL_MIN).await;
    tokio::time::resume();
    let unheard = pair("unheard of");
    assert_eq!(user(auth.identify(&unheard.token()).await), Err(TokenRefused::KEY));
    assert_eq!(issuer.asked(), 3);
    assert_eq!(user(auth.identify(&old.token()).await), Err(TokenRefused::KEY));
    assert_eq!(user(auth.identify(&new.token()).await), Ok("new".into()));
}

#[tokio::test]
async fn an_unreachable_issuers_keys_stay_valid_for_a_day() {
    let ada = pair("ada");
    let issuer =
        Issuer::start(publishing(&[&ada], "Cache-Control: public, max-age=3600\r\n")).await;
    let auth = Auth::start(&issuer.config());
    assert_eq!(user(auth.identify(&ada.token()).await), Ok("ada".into()));
    issuer.answers(IssuerReply::HangUp);
    let checker = auth.0.current();
    let fetching = &checker.issuers[0];
    tokio::time::pause();
    // Fresh for an hour, stale for a day. Refreshed before the hour is over.
    tokio::time::advance(Duration::from_secs(3600 * 7 / 10)).await;
    assert_eq!((issuer.asked(), fetching.progress.borrow().rounds), (1, 1));
    tokio::time::advance(Duration::from_secs(3600 * 3 / 10)).await;
    tokio::time::resume();
    rounds(fetching, 2).await;
    assert_eq!(user(auth.identify(&ada.token()).await), Ok("ada".into()));
    tokio::time::pause();
    tokio::time::advance(STALE_MAX + RETRY_MAX).await;
    tokio::time::resume();
    rounds(fetching, 3).await;
    assert_eq!(user(auth.identify(&ada.token()).await), Err(TokenRefused::KEYS_UNAVAILABLE));
    // The key is valid again once the issuer is reachable.
    issuer.answers(publishing(&[&ada], ""));
    tokio::time::pause();
    tokio::time::advance(RETRY_MAX).await;
    tokio::time::resume();
    assert_eq!(user(auth.identify(&ada.token()).await), Ok("ada".into()));
}

#[tokio::test]
async fn a_token_of_an_issuer_that_never_answered_is_refused_after_a_bounded_wait() {
    let ada = pair("ada");
    let issuer = Issuer::start(IssuerReply::Stall("")).await;
    let auth = Auth::start(&issuer.config());
    tokio::time::pause();
    let began = Instant::now();
    assert_eq!(user(auth.identify(&ada.token()).await), Err(TokenRefused::KEYS_UNAVAILABLE));
    assert!(began.elapsed() <= fetch::TIMEOUT + Duration::from_millis(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn each_unusable_answer_of_an_issuer_has_its_own_error() {
    let body = |head: &str, body: &str| IssuerReply::Text(format!("HTTP/1.1 {head}\r\n\r\n{body}"));
    let large = format!("{{\"keys\":[]{}}}", " ".repeat(fetch::BODY_BYTES_MAX));
    let many = format!("{{\"keys\":[{}1]}}", "1,".repeat(document::KEYS_MAX));
    for (reply, expected) in [
        (body("404 Not Found", "{}"), "404"),
        (body("302 Found\r\nLocation: http://127.0.0.1/", ""), "302"),
        (body("200 OK", &large), "256 KiB"),
        (body("200 OK", "<html>"), "not a JWK Set"),
        (body("200 OK", &many), "more than 100 keys"),
        (body("200 OK", "{\"keys\":[]}"), "no key"),
        (IssuerReply::HangUp, "cannot be read"),
        (IssuerReply::Text("SSH-2.0\r\n\r\n".into()), "cannot be read"),
    ] {
        let issuer = Issuer::start(reply).await;
        let address = issuer.jwks().address;
        let fetched = fetch(&address).await;
        let why = fetched.and_then(|answer| Ok(keys(&answer.body, None)?)).unwrap_err().to_string();
        assert!(why.contains(expected), "{expected:?} is not in {why:?}");
        assert!(!why.contains("hush") && !address.to_string().contains("hush"), "{why}");
    }
}

#[tokio::test]
async fn a_jwks_body_that_never_ends_times_out() {
    let issuer =
        Issuer::start(IssuerReply::Stall("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{")).await;
    tokio::time::pause();
    let began = Instant::now();
    let fetched = fetch(&issuer.jwks().address).await;
    assert!(matches!(fetched, Err(FetchError::Timeout)));
    assert!(began.elapsed() <= fetch::TIMEOUT + Duration::from_millis(10));
}

#[tokio::test]
async fn the_max_age_of_an_issuer_is_respected() {
    for (headers, expected) in [
        ("", None),
        ("Cache-Control: max-age=7\r\n", Some(7)),
        ("cache-control: public\r\nCache-Control: MAX-AGE=\"7\"\r\n", Some(7)),
        ("Cache-Control: max-age=7, no-store\r\n", Some(0)),
        ("Cache-Control: max-age=-7\r\n", None),
        ("Cache-Control: max-age=99999999999999999999\r\n", None),
    ] {
        let issuer = Issuer::start(publishing(&[], headers)).await;
        let answer = fetch(&issuer.jwks().address).await.unwrap();
        assert_eq!(answer.max_age, expected.map(Duration::from_secs), "{headers:?}");
    }
}

#[tokio::test]
async fn a_reloaded_configuration_keeps_the_fetched_keys() {
    let ada = pair("ada");
    let issuer = Issuer::start(publishing(&[&ada], "")).await;
    let auth = Auth::start(&issuer.config());
    assert_eq!(user(auth.identify(&ada.token()).await), Ok("ada".into()));
    issuer.answers(IssuerReply::Stall(""));
    auth.replace(&issuer.config());
    assert_eq!(user(auth.identify(&ada.token()).await), Ok("ada".into()));
    auth.replace(&Config { mode: Mode::None, ..issuer.config() });
    assert_eq!(user(auth.identify(&ada.token()).await), Err(TokenRefused::NO_TOKENS));
    assert!(!auth.is_on());
}

#[tokio::test]
async fn an_https_issuer_is_trusted_only_with_a_valid_certificate() {
    use rustls::pki_types::PrivateKeyDer;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, made.cert.pem()).unwrap();
    let tls = crate::tls::client(Some(&file)).unwrap();
    let private = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], private)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = [0; 2048];
            assert!(stream.read(&mut head).await.unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
            stream.flush().await.unwrap();
        }
    });
    let ask = async |host: &str, tls| {
        let (uri, is_https) = JwksUrl::parse(&format!("https://{host}:{port}/")).unwrap();
        assert!(is_https);
        fetch(&JwksUrl { uri, tls: Some(tls) }).await.map(|answer| answer.body)
    };
    assert_eq!(ask("localhost", tls.clone()).await.unwrap(), "{}");
    let elsewhere = ask("127.0.0.1", tls).await.unwrap_err().to_string();
    assert!(elsewhere.contains("cannot connect"), "{elsewhere}");
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&file, other.cert.pem()).unwrap();
    let foreign = crate::tls::client(Some(&file)).unwrap();
    let unknown = ask("localhost", foreign).await.unwrap_err().to_string();
    assert!(unknown.contains("cannot connect"), "{unknown}");
}
