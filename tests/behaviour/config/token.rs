//! `tidegate token`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{run, stderr, stdout};

const KEYS: &str = r#"auth.keys=[
    { kid = "a", alg = "HS256", secret = "the first secret, which is long enough" },
    { kid = "b", alg = "HS256", secret = "the second secret, which is long enough" },
    { jwks = "http://127.0.0.1:1/" },
]"#;

async fn token(arguments: &[&str]) -> Result<(Value, Value), String> {
    let keys = KEYS.replace('\n', " ");
    let ended = run(&[&["token", "--set", &keys], arguments].concat(), &[]).await;
    match ended.status.code() {
        Some(0) => {}
        Some(2) => return Err(stderr(&ended)),
        other => panic!("{other:?}: {}", stderr(&ended)),
    }
    let out = stdout(&ended);
    let token = out.strip_suffix('\n').expect("a line");
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3, "the output is not a lone token: {out}");
    let json = |part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    Ok((json(parts[0]), json(parts[1])))
}

#[tokio::test]
async fn a_signed_token_holds_the_requested_claims_and_those_that_nodes_require() {
    let (header, mut claims) = token(&[
        "--user",
        "ada",
        "--subscribe",
        "chat:*",
        "--subscribe",
        "user:{user}",
        "--publish",
        "chat:1",
        "--channel",
        "news",
        "--ttl",
        "2h",
        "--set",
        "auth.issuer=me",
        "--set",
        "auth.audience=x,y",
    ])
    .await
    .unwrap();
    assert_eq!(header, json!({ "typ": "JWT", "alg": "HS256", "kid": "a" }));
    let claims = claims.as_object_mut().unwrap();
    let seconds = |claim: Option<Value>| claim.unwrap().as_u64().unwrap();
    let (issued, expires) = (seconds(claims.remove("iat")), seconds(claims.remove("exp")));
    assert_eq!(expires - issued, 2 * 60 * 60);
    let expected = json!({
        "sub": "ada", "iss": "me", "aud": "x", "subscribe": ["chat:*", "user:{user}"],
        "publish": ["chat:1"], "channels": ["news"],
    });
    assert_eq!(Value::Object(claims.clone()), expected);
    let (header, _) = token(&["--user", "ada", "--kid", "b"]).await.unwrap();
    assert_eq!(header["kid"], "b");
}

#[tokio::test]
async fn no_token_is_signed_that_a_node_would_refuse_or_without_a_signing_key() {
    for (arguments, why) in [
        (&["--user", "ada", "--kid", "c"][..], "\"c\" can sign"),
        (&["--user", "ada", "--set", "auth.keys=[]", "--set", "auth.mode=none"], "can sign"),
        (&["--user", ""], "the claim sub"),
        (&["--user", "ada", "--subscribe", "{other}"], "a pattern is"),
        (&["--user", "ada", "--channel", "a b"], "a channel name is"),
        (&["--user", "ada", "--ttl", "60"], "--ttl"),
        (&["--subscribe", "a"], "--user"),
    ] {
        let error = token(arguments).await.unwrap_err();
        assert!(error.contains(why) && !error.contains("long enough"), "{why:?} is not in {error}");
    }
}

#[tokio::test]
async fn a_short_secret_signs_a_token_with_a_warning() {
    let keys = |secret: &str| format!(r#"auth.keys=[{{ alg = "HS256", secret = "{secret}" }}]"#);
    let short = keys(&"x".repeat(31));
    let ended = run(&["token", "--user", "ada", "--set", &short], &[]).await;
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(stdout(&ended).trim_end().split('.').count(), 3, "{}", stdout(&ended));
    let warning = stderr(&ended);
    assert!(
        warning.starts_with("tidegate: warning: ") && warning.contains("32 bytes"),
        "{warning}"
    );
    assert!(!warning.contains("xxx") && warning.lines().count() == 1, "{warning}");
    let long = keys(&"x".repeat(32));
    assert_eq!(stderr(&run(&["token", "--user", "ada", "--set", &long], &[]).await), "");
    // Only the key that signs is checked.
    let both = r#"auth.keys=[{ kid = "a", alg = "HS256", secret = "short" },
        { kid = "b", alg = "HS256", secret = "long enough that no warning is expected" }]"#;
    let both = both.replace('\n', " ");
    let ended = run(&["token", "--user", "ada", "--kid", "b", "--set", &both], &[]).await;
    assert_eq!(stderr(&ended), "");
}
