//! Keys: how they may be written, what is refused and how that is told, and the one that is made.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[tokio::test]
async fn a_key_may_be_written_as_pem_as_jwk_and_in_a_set() {
    for pair in Pair::all() {
        let set = json!({ "keys": [pair.public_jwk] });
        for file in [pair.public_pem.clone(), pair.public_jwk.to_string(), format!("\n {set}\n")] {
            let auth = House::with_key(&file).open();
            let verified = auth.verify(&pair.token(&Draft::new()), Role::Publisher).await;
            verified.unwrap_or_else(|error| panic!("{file}: {error}"));
        }
    }
}

#[tokio::test]
async fn a_file_may_hold_several_keys_so_that_they_can_be_replaced() {
    let [old, new, stranger] = [Pair::ed25519(), Pair::p256(), Pair::ed25519()];
    for file in [
        format!("the old one\n{}\nand the new one\n{}", old.public_pem, new.public_pem),
        json!({ "keys": [old.public_jwk, new.public_jwk] }).to_string(),
    ] {
        let auth = House::with_key(&file).open();
        for pair in [&old, &new] {
            auth.verify(&pair.token(&Draft::new()), Role::Publisher).await.expect("a token");
        }
        let verified = auth.verify(&stranger.token(&Draft::new()), Role::Publisher).await;
        assert_eq!(refused(verified), TokenError::Signature);
    }
}

#[tokio::test]
async fn a_raw_secret_loses_one_line_end_and_nothing_else() {
    for end in ["", "\n", "\r\n"] {
        verify(&House::with_key(format!("{SECRET}{end}")).open(), &Draft::new()).await.expect("a token");
    }
    for end in ["\n\n", " ", "\r", " \n"] {
        let verified = verify(&House::with_key(format!("{SECRET}{end}")).open(), &Draft::new()).await;
        assert_eq!(refused(verified), TokenError::Signature, "{end:?}");
    }
}

#[tokio::test]
async fn a_secret_as_jwk_is_for_its_algorithm() {
    let secret = [7; 64];
    for (alg, name) in [(None, "HS256"), (Some("HS256"), "HS256"), (Some("HS384"), "HS384"), (Some("HS512"), "HS512")] {
        let mut jwk = json!({ "kty": "oct", "k": encoded(secret) });
        set(&mut jwk, "alg", alg.into());
        let auth = House::with_key(jwk.to_string()).open();
        for other in ["HS256", "HS384", "HS512"] {
            let algorithm = other.parse().expect("an algorithm");
            let token = Draft::new().header("alg", other).sign_with(&EncodingKey::from_secret(&secret), algorithm);
            assert_eq!(auth.verify(&token, Role::Publisher).await.is_ok(), other == name, "{alg:?} {other}");
        }
    }
}

#[tokio::test]
async fn a_key_that_names_its_algorithm_is_for_that_alone() {
    let pair = Pair::rsa();
    let mut jwk = pair.public_jwk.clone();
    set(&mut jwk, "alg", "PS256".into());
    let auth = House::with_key(jwk.to_string()).open();
    for algorithm in &pair.algorithms {
        let draft = Draft::new().header("alg", format!("{algorithm:?}"));
        let verified = auth.verify(&draft.sign_with(&pair.signing, *algorithm), Role::Publisher).await;
        assert_eq!(verified.is_ok(), *algorithm == Algorithm::PS256, "{algorithm:?}");
    }
}

#[tokio::test]
async fn keys_for_something_else_and_of_unknown_kinds_are_left_out() {
    let pair = Pair::ed25519();
    let with = |name: &str, value: Value| {
        let mut jwk = pair.public_jwk.clone();
        set(&mut jwk, name, value);
        jwk
    };
    let others = [
        with("use", "enc".into()),
        with("key_ops", json!(["encrypt", "wrapKey"])),
        with("key_ops", json!([])),
        with("alg", "ECDH-ES".into()),
        with("crv", "Ed448".into()),
        with("kty", "AKP".into()),
    ];
    for other in &others {
        let error = House::with_key(other.to_string()).refuses_to_open();
        assert!(error.contains("for verifying"), "{other}: {error}");
    }
    let good = Pair::p256();
    let all: Value = others.into_iter().chain([good.public_jwk.clone()]).collect();
    let auth = House::with_key(json!({ "keys": all }).to_string()).open();
    auth.verify(&good.token(&Draft::new()), Role::Publisher).await.expect("a token");
    assert_eq!(refused(auth.verify(&pair.token(&Draft::new()), Role::Publisher).await), TokenError::NoKey);
    for value in [json!(["verify"]), json!(["sign", "verify"])] {
        House::with_key(with("key_ops", value).to_string()).open();
    }
}

#[test]
fn what_is_no_key_is_refused_with_the_file_and_what_to_do() {
    let pair = Pair::p256();
    let off_the_curve = {
        let mut jwk = pair.public_jwk.clone();
        let x = jwk["x"].clone();
        set(&mut jwk, "y", x);
        jwk
    };
    let short = json!({ "kty": "EC", "crv": "P-256", "x": encoded([1; 31]), "y": encoded([1; 32]) });
    let many: Vec<_> = (0..65).map(|_| pair.public_jwk.clone()).collect();
    let small = json!({ "kty": "RSA", "n": encoded([0xff; 128]), "e": "AQAB" });
    for (file, says) in [
        (String::new(), "empty"),
        ("\n".into(), "empty"),
        ("too short".into(), "9 bytes is too short"),
        ("x".repeat(31), "openssl rand"),
        (json!({ "kty": "oct", "k": encoded([1; 47]), "alg": "HS384" }).to_string(), "needs 48"),
        (json!({ "kty": "oct", "k": encoded([1; 64]), "alg": "RS256" }).to_string(), "another type of key"),
        ("{".into(), "JWK"),
        ("{}".into(), "JWK"),
        (json!({ "keys": {} }).to_string(), "no array"),
        (json!({ "keys": [] }).to_string(), "for verifying"),
        (json!({ "keys": many }).to_string(), "more than 64"),
        (json!({ "kty": "EC", "crv": "P-256" }).to_string(), "`x`"),
        (off_the_curve.to_string(), "point on the curve"),
        (short.to_string(), "point on the curve"),
        (small.to_string(), "2048"),
        (pair.public_pem.replace("A", "B"), "damaged"),
        (pair.private_pem.clone(), "openssl pkey"),
        (pair.private_jwk.to_string(), "private key"),
        (pem("EC PRIVATE KEY", b"x"), "private key"),
        (pem("ENCRYPTED PRIVATE KEY", b"x"), "private key"),
        (pem("CERTIFICATE", b"x"), "openssl x509"),
        (pem("DH PARAMETERS", b"x"), "isn't supported"),
        ("x".repeat(256 * 1024 + 1), "larger than"),
    ] {
        let error = House::with_key(&file).refuses_to_open();
        assert!(error.contains(says) && error.contains("/key"), "{file:.40}: {error}");
    }
    let mut house = House::new();
    house.options.issuers[0].subscriber = KeySource::File("/nowhere/at/all".into());
    assert!(house.refuses_to_open().contains("/nowhere/at/all"));
}

#[test]
fn an_issuer_that_is_set_twice_is_refused() {
    let mut house = House::new();
    house.options.issuers.push(house.options.issuers[0].clone());
    assert!(house.refuses_to_open().contains("is set twice"));
}

#[tokio::test]
async fn the_key_that_is_made_is_random_and_for_its_owner_alone() {
    let [one, other] = [(); 2].map(|()| {
        let mut house = House::new();
        house.options.issuers = vec![issuer(ISSUER, KeySource::Generated)];
        house
    });
    let auth = one.open();
    let path = one.options.data.join("token.key");
    let text = std::fs::read_to_string(&path).expect("a key");
    let is_base64url = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    assert!(text.len() == 44 && text.ends_with('\n') && text.trim_end().chars().all(is_base64url), "{}", text.len());
    assert_eq!(path.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    let token = Draft::new().sign_with(&EncodingKey::from_secret(text.trim_end().as_bytes()), Algorithm::HS256);
    for auth in [&auth, &one.open()] {
        auth.verify(&token, Role::Publisher).await.expect("a token");
    }
    assert_eq!(refused(other.open().verify(&token, Role::Publisher).await), TokenError::Signature);
    let left: Vec<_> = std::fs::read_dir(&one.options.data).expect("a folder").collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn of_many_that_make_the_key_at_once_all_have_the_same() {
    let mut house = House::new();
    house.options.issuers = vec![issuer(ISSUER, KeySource::Generated)];
    let data = &house.options.data;
    let keys: Vec<_> = std::thread::scope(|scope| {
        let make = || {
            let made = SigningKey::make(data).expect("a key");
            let key = SigningKey::of(&house.options.issuers[0], Role::Publisher, data).expect("a key");
            (key.expect("one").0, made)
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(keys.iter().filter(|(_, made)| *made).count(), 1);
    assert!(keys.iter().all(|(key, _)| key.is_same(&keys[0].0)));
}

#[test]
fn who_only_looks_makes_no_key() {
    let mut house = House::new();
    house.options.issuers = vec![issuer(ISSUER, KeySource::Generated)];
    let error = Auth::open_read_only(house.options.clone(), patterns()).err().expect("an error").to_string();
    assert!(error.contains("token.key") && error.contains("--make-key"), "{error}");
    let key = SigningKey::of(&house.options.issuers[0], Role::Publisher, &house.options.data);
    assert!(matches!(key, Err(AuthError::NoKey { .. })));
    assert!(!house.options.data.exists());
}

/// Claims as `tidings token` makes them.
fn claims() -> Claims {
    Claims {
        issuer: ISSUER.into(),
        subject: "somebody".into(),
        client_id: "tests".into(),
        audience: RESOURCE.into(),
        issued: Utc::now(),
        expires: Utc::now() + chrono::TimeDelta::hours(1),
        id: "7".into(),
        authorization_details: Vec::new(),
    }
}

#[tokio::test]
async fn every_private_key_signs_what_its_public_one_verifies() {
    for pair in Pair::all() {
        let house = House::with_key(&pair.public_pem);
        let mut named = pair.private_jwk.clone();
        set(&mut named, "kid", "a name".into());
        for (private, id) in [
            (pair.private_pem.clone(), None),
            (pair.private_jwk.to_string(), None),
            (named.to_string(), Some("a name")),
        ] {
            let key = SigningKey::read(&house.file("private", &private)).unwrap_or_else(|error| panic!("{error}"));
            let token = key.sign(&claims()).expect("a token");
            let verified = house.open().verify(&token, Role::Publisher).await;
            assert_eq!(verified.unwrap_or_else(|error| panic!("{error}")).id, "7".into());
            let header = jsonwebtoken::decode_header(&token).expect("a header");
            assert_eq!((header.kid.as_deref(), header.alg), (id, pair.algorithms[0]));
        }
    }
    let pair = Pair::rsa();
    let mut jwk = pair.private_jwk.clone();
    set(&mut jwk, "alg", "PS384".into());
    let house = House::with_key(&pair.public_pem);
    let key = SigningKey::read(&house.file("private", jwk.to_string())).expect("a key");
    assert_eq!(key.algorithm(), "PS384");
    house.open().verify(&key.sign(&claims()).expect("a token"), Role::Publisher).await.expect("a token");
}

#[tokio::test]
async fn what_older_tools_write_signs_too() {
    let rsa = Pair::rsa();
    let house = House::with_key(&rsa.public_pem);
    let file = house.file("pkcs1", pem("RSA PRIVATE KEY", rsa.signing.as_bytes()));
    let token = SigningKey::read(&file).expect("a key").sign(&claims()).expect("a token");
    house.open().verify(&token, Role::Publisher).await.expect("a token");
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let sec1: aws_lc_rs::encoding::EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().expect("SEC 1");
    let house = House::with_key(pem("PUBLIC KEY", pair.public_key().as_der().expect("a key").as_ref()));
    let parameters = pem("EC PARAMETERS", b"x");
    let file = house.file("sec1", format!("{parameters}{}", pem("EC PRIVATE KEY", sec1.as_ref())));
    let token = SigningKey::read(&file).expect("a key").sign(&claims()).expect("a token");
    house.open().verify(&token, Role::Publisher).await.expect("a token");
}

#[test]
fn what_cant_sign_is_refused_and_says_why() {
    let (house, pair, rsa) = (House::new(), Pair::p256(), Pair::rsa());
    let with = |jwk: &Value, name: &str, value: Value| {
        let mut jwk = jwk.clone();
        set(&mut jwk, name, value);
        jwk.to_string()
    };
    let encrypted = format!("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n{}", pem("", b"x"));
    for (file, says) in [
        (pair.public_pem.clone(), "no private key"),
        (pair.public_jwk.to_string(), "no private key"),
        (pem("ENCRYPTED PRIVATE KEY", b"x"), "encrypted"),
        (encrypted, "encrypted"),
        (pem("PRIVATE KEY", b"x"), "isn't supported"),
        (with(&pair.private_jwk, "d", encoded([1; 32]).into()), "damaged"),
        (with(&pair.private_jwk, "alg", "ES384".into()), "another type of key"),
        (with(&rsa.private_jwk, "alg", "ES256".into()), "another type of key"),
        (with(&rsa.private_jwk, "qi", Value::Null), "`qi`"),
        ("short".into(), "5 bytes is too short"),
    ] {
        let error = SigningKey::read(&house.file("private", &file)).expect_err("a refusal").to_string();
        assert!(error.contains(says), "{file:.60}: {error}");
    }
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_token_is_said_at_once() {
    let house = House::new();
    let auth = Auth::open_read_only(house.options.clone(), patterns()).expect("keys");
    let detail = json!({ "type": DETAIL_TYPE, "actions": ["publish"], "topics": [] });
    let draft = Draft::new()
        .header("typ", "JWT")
        .with("exp", 1)
        .with("nbf", 4e9)
        .with("aud", Value::Null)
        .with("sub", 7)
        .details(json!([detail]));
    let key = EncodingKey::from_secret(b"somebody else's secret, of no interest");
    let token = draft.sign_with(&key, Algorithm::HS256);
    let inspection = auth.inspect(&token, &[Role::Subscriber]).await.expect("a token");
    assert_eq!(inspection.claims["exp"], 1);
    assert!(inspection.rights.is_none());
    let [(Role::Subscriber, refusals)] = &inspection.refusals[..] else { panic!("{inspection:?}") };
    assert!(
        matches!(&refusals[..], [
            TokenError::Type, TokenError::Expired { since }, TokenError::NotYet { until }, TokenError::Missing("aud"),
            TokenError::Claim { claim: "sub", .. }, TokenError::Signature, TokenError::Details(_),
        ] if (*since, *until) == (at(1), at(4_000_000_000))),
        "{refusals:?}"
    );
    let good = auth.inspect(&Draft::new().sign(), &[Role::Publisher, Role::Subscriber]).await.expect("a token");
    assert!(good.refusals.iter().all(|(_, refusals)| refusals.is_empty()) && good.rights.is_some());
    assert!(auth.inspect("a.b", &[Role::Publisher]).await.is_err());
}
