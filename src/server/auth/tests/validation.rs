//! Mercure 2.5, "Token Validation", line by line. What a token's text can do to us stands in `hostile`.

use super::*;

#[tokio::test]
async fn the_type_is_at_jwt_in_whatever_case() {
    let auth = House::new().open();
    for name in ["at+jwt", "AT+JWT", "At+Jwt", "application/at+jwt", "APPLICATION/at+JWT"] {
        verify(&auth, &Draft::new().header("typ", name)).await.expect(name);
    }
    for name in ["JWT", "jwt", "at+jwt ", "application/jwt", "at-jwt", ""] {
        assert_eq!(refused(verify(&auth, &Draft::new().header("typ", name)).await), TokenError::Type, "{name}");
    }
    assert_eq!(refused(verify(&auth, &Draft::new().header("typ", Value::Null)).await), TokenError::Type);
    let number = refused(verify(&auth, &Draft::new().header("typ", 7)).await);
    assert!(matches!(number, TokenError::Malformed(_)), "{number}");
}

#[tokio::test]
async fn only_allowed_algorithms_are_taken_and_never_none() {
    let auth = House::new().open();
    for name in ["none", "None", "NONE", "", "hs256", "HS1", "RSA-OAEP", "ES512", "ES256K"] {
        let draft = Draft::new().header("alg", name);
        assert_eq!(refused(verify(&auth, &draft).await), TokenError::Algorithm, "{name}");
        let unsigned = format!("{}.", draft.sign().rsplit_once('.').expect("a signature").0);
        assert_eq!(refused(auth.verify(&unsigned, Role::Subscriber).await), TokenError::Algorithm, "{name}");
    }
    assert_eq!(refused(verify(&auth, &Draft::new().header("alg", Value::Null)).await), TokenError::Algorithm);
}

#[tokio::test]
async fn the_algorithm_fits_the_type_of_the_key() {
    for pair in Pair::all() {
        let house = House::with_key(&pair.public_pem);
        let auth = house.open();
        for &algorithm in &pair.algorithms {
            let draft = Draft::new().header("alg", format!("{algorithm:?}"));
            let verified = auth.verify(&draft.sign_with(&pair.signing, algorithm), Role::Subscriber).await;
            verified.unwrap_or_else(|error| panic!("{algorithm:?}: {error}"));
        }
        // The public key is known to everybody, so it must not be taken for a secret.
        for name in ["HS256", "HS384", "HS512"] {
            let algorithm = name.parse().expect("an algorithm");
            let key = EncodingKey::from_secret(pair.public_pem.as_bytes());
            let forged = Draft::new().header("alg", name).sign_with(&key, algorithm);
            assert_eq!(refused(auth.verify(&forged, Role::Subscriber).await), TokenError::NoKey, "{name}");
        }
        // What one algorithm has signed is not another's.
        let [first, .., last] = &[&pair.algorithms[..], &[Algorithm::HS256]].concat()[..] else { unreachable!() };
        let mixed = Draft::new().header("alg", format!("{last:?}")).sign_with(&pair.signing, *first);
        assert_eq!(refused(auth.verify(&mixed, Role::Subscriber).await), TokenError::NoKey);
    }
}

#[tokio::test]
async fn a_raw_secret_is_for_hs256_alone() {
    let auth = House::new().open();
    for name in ["HS384", "HS512"] {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let token = Draft::new().header("alg", name).sign_with(&key, name.parse().expect("an algorithm"));
        assert_eq!(refused(auth.verify(&token, Role::Subscriber).await), TokenError::NoKey, "{name}");
    }
}

#[tokio::test]
async fn keys_in_the_header_are_not_looked_at() {
    let (house, evil) = (House::new(), Pair::ed25519());
    let auth = house.open();
    let forged = Draft::new()
        .header("jwk", evil.public_jwk.clone())
        .header("jku", "https://evil.example/jwks")
        .header("x5u", "https://evil.example/cert")
        .header("x5c", json!([encoded("a certificate")]));
    assert_eq!(refused(auth.verify(&evil.token(&forged), Role::Subscriber).await), TokenError::NoKey);
    verify(&auth, &forged).await.expect("a token that a configured key has signed");
}

#[tokio::test]
async fn what_the_header_says_is_critical_must_be_understood() {
    let auth = House::new().open();
    let draft = Draft::new().header("crit", json!(["b64"])).header("b64", false);
    assert_eq!(refused(verify(&auth, &draft).await), TokenError::Critical);
}

#[tokio::test]
async fn the_key_id_is_only_a_hint() {
    let pairs = [Pair::ed25519(), Pair::ed25519(), Pair::p256()];
    let named = |pair: &Pair, id: &str| {
        let mut jwk = pair.public_jwk.clone();
        set(&mut jwk, "kid", id.into());
        jwk
    };
    let keys = json!({ "keys": [named(&pairs[0], "one"), named(&pairs[1], "two"), named(&pairs[2], "one")] });
    let auth = House::with_key(keys.to_string()).open();
    for pair in &pairs {
        for id in ["one", "two", "three", ""] {
            let token = pair.token(&Draft::new().header("kid", id));
            auth.verify(&token, Role::Subscriber).await.unwrap_or_else(|error| panic!("{id}: {error}"));
        }
    }
    let stranger = Pair::ed25519().token(&Draft::new().header("kid", "one"));
    assert_eq!(refused(auth.verify(&stranger, Role::Subscriber).await), TokenError::Signature);
}

#[tokio::test]
async fn each_key_is_bound_to_its_issuer_and_its_use() {
    let mut house = House::new();
    let secrets = [
        "publishers of one, a secret of theirs",
        "subscribers of one, a secret of theirs",
        "the only secret of the other issuer, for both",
    ];
    let [publisher, subscriber, other] = [0, 1, 2].map(|n| KeySource::File(house.file(&format!("key{n}"), secrets[n])));
    house.options.issuers = vec![
        IssuerOptions { issuer: "one".into(), publisher, subscriber },
        IssuerOptions { issuer: "other".into(), publisher: KeySource::Nowhere, subscriber: other },
    ];
    let auth = house.open();
    for (name, role, own) in [("one", Role::Publisher, 0), ("one", Role::Subscriber, 1), ("other", Role::Subscriber, 2)]
    {
        for (n, secret) in secrets.iter().enumerate() {
            let key = EncodingKey::from_secret(secret.as_bytes());
            let token = Draft::new().with("iss", name).sign_with(&key, Algorithm::HS256);
            let verified = auth.verify(&token, role).await;
            assert_eq!(verified.err(), (n != own).then_some(TokenError::Signature), "{name} {role} {n}");
        }
    }
    let key = EncodingKey::from_secret(secrets[2].as_bytes());
    let token = Draft::new().with("iss", "other").sign_with(&key, Algorithm::HS256);
    assert_eq!(refused(auth.verify(&token, Role::Publisher).await), TokenError::Use(Role::Publisher));
    assert_eq!(auth.issuers().collect::<Vec<_>>(), ["one", "other"]);
}

#[tokio::test]
async fn the_issuer_is_exactly_one_of_those_trusted() {
    let auth = House::new().open();
    for name in ["https://issuer.example/", "HTTPS://issuer.example", "https://evil.example", ""] {
        let refusal = refused(verify(&auth, &Draft::new().with("iss", name)).await);
        assert_eq!(refusal, TokenError::Issuer { expected: ISSUER.into() }, "{name}");
    }
    assert_eq!(refused(verify(&auth, &Draft::new().with("iss", Value::Null)).await), TokenError::Missing("iss"));
    for wrong in [json!([ISSUER]), json!(7), json!({})] {
        let refusal = refused(verify(&auth, &Draft::new().with("iss", wrong)).await);
        assert!(matches!(refusal, TokenError::Claim { claim: "iss", .. }), "{refusal}");
    }
}

#[tokio::test]
async fn it_must_say_when_it_expires_and_is_refused_from_then_on() {
    let house = House::new();
    let auth = house.open();
    assert_eq!(refused(verify(&auth, &Draft::new().with("exp", Value::Null)).await), TokenError::Missing("exp"));
    for wrong in [json!("1"), json!([1]), json!(true), json!({})] {
        let refusal = refused(verify(&auth, &Draft::new().with("exp", wrong)).await);
        assert!(matches!(refusal, TokenError::Claim { claim: "exp", .. }), "{refusal}");
    }
    for over in [json!(0), json!(-1), json!(1.5), json!(-1e300), json!(i64::MIN)] {
        let refusal = refused(verify(&auth, &Draft::new().with("exp", over)).await);
        assert!(matches!(refusal, TokenError::Expired { .. }), "{refusal}");
    }
    for late in [json!(4e9), json!(4_000_000_000.5), json!(i64::MAX), json!(u64::MAX), json!(1e300)] {
        verify(&auth, &Draft::new().with("exp", late.clone())).await.unwrap_or_else(|error| panic!("{late}: {error}"));
    }
    let token = Draft::new().with("exp", 2_000_000_000).sign();
    house.clock.set(at(1_999_999_999));
    auth.verify(&token, Role::Subscriber).await.expect("a token");
    house.clock.set(at(2_000_000_000));
    let end = auth.verify(&token, Role::Subscriber).await;
    assert_eq!(refused(end).to_string(), "it has expired at 2033-05-18T03:33:20Z");
}

#[tokio::test]
async fn before_its_time_it_is_refused_save_for_a_moment_of_clocks() {
    let house = House::new();
    let auth = house.open();
    let token = Draft::new().with("nbf", 1_900_000_000).with("exp", 2_000_000_000).sign();
    house.clock.set(at(1_899_999_994));
    let early = auth.verify(&token, Role::Subscriber).await;
    assert_eq!(refused(early), TokenError::NotYet { until: at(1_900_000_000) });
    house.clock.set(at(1_899_999_995));
    auth.verify(&token, Role::Subscriber).await.expect("a token");
    let refusal = refused(verify(&auth, &Draft::new().with("nbf", "now").with("exp", 2_000_000_000)).await);
    assert!(matches!(refusal, TokenError::Claim { claim: "nbf", .. }), "{refusal}");
}

#[tokio::test]
async fn its_audience_is_or_contains_the_hub() {
    let auth = House::new().open();
    for audience in [json!(RESOURCE), json!([RESOURCE]), json!(["https://other.example", RESOURCE])] {
        verify(&auth, &Draft::new().with("aud", audience)).await.expect("a token");
    }
    for audience in [json!("https://hub.example"), json!([]), json!([""]), json!(format!("{RESOURCE}/"))] {
        let refusal = refused(verify(&auth, &Draft::new().with("aud", audience)).await);
        assert!(refusal.to_string().contains(RESOURCE), "{refusal}");
    }
    for wrong in [json!(7), json!({ "aud": RESOURCE }), json!([RESOURCE, 7]), json!([[RESOURCE]])] {
        let refusal = refused(verify(&auth, &Draft::new().with("aud", wrong)).await);
        assert!(matches!(refusal, TokenError::Claim { claim: "aud", .. }), "{refusal}");
    }
    assert_eq!(refused(verify(&auth, &Draft::new().with("aud", Value::Null)).await), TokenError::Missing("aud"));
}

#[tokio::test]
async fn nothing_else_is_enforced_but_a_claim_of_the_wrong_type_is_no_claim() {
    let auth = House::new().open();
    let mut bare = Draft::new();
    for name in ["sub", "client_id", "iat", "jti"] {
        bare = bare.with(name, Value::Null);
        let refusal = refused(verify(&auth, &Draft::new().with(name, json!([]))).await);
        assert!(matches!(refusal, TokenError::Claim { claim, .. } if claim == name), "{refusal}");
    }
    let token = verify(&auth, &bare.with("iat", 4e9)).await.expect("a token");
    assert_eq!((&*token.subject, &*token.id, &*token.issuer), ("", "", ISSUER));
    assert!(token.rights.grants().is_empty());
    let token = verify(&auth, &Draft::new()).await.expect("a token");
    assert_eq!((&*token.subject, &*token.id), ("somebody", "1"));
}

#[tokio::test]
async fn what_has_not_three_parts_of_json_is_no_token() {
    let auth = House::new().open();
    let token = Draft::new().sign();
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
    for text in [
        "",
        ".",
        "..",
        "a.b.c",
        "Bearer",
        header,
        &format!("{header}.{claims}"),
        &format!("{token}.{signature}"),
        &format!("{}.{claims}.{signature}", encoded("[]")),
        &format!("{}.{claims}.{signature}", encoded("{}x")),
        &format!("{header}.{}.{signature}", encoded("7")),
        &format!("{header}=.{claims}.{signature}"),
        &format!("{header}.{}.{signature}", encoded([b'{', 0xff, b'}'])),
        &format!("{header}.{}.{signature}", encoded("[".repeat(5000))),
        &format!(" {token}"),
    ] {
        let refusal = refused(auth.verify(text, Role::Subscriber).await);
        assert!(matches!(refusal, TokenError::Malformed(_)), "{text}: {refusal}");
    }
    let long = Draft::new().with("sub", "x".repeat(16 * 1024)).sign();
    assert!(matches!(refused(auth.verify(&long, Role::Subscriber).await), TokenError::TooLong { .. }));
}

#[tokio::test]
async fn a_refusal_tells_nothing_of_the_tokens_text() {
    let auth = House::new().open();
    let text = "\"injected";
    for draft in [
        Draft::new().header("alg", text),
        Draft::new().header("typ", text),
        Draft::new().with("iss", text),
        Draft::new().with("aud", text),
        Draft::new().details(
            json!([{ "type": DETAIL_TYPE, "actions": ["publish"], "topics": [{ "match": text, "match_type": text }] }]),
        ),
    ] {
        let refusal = refused(verify(&auth, &draft).await).to_string();
        assert!(!refusal.contains("injected"), "{refusal}");
    }
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_and_after_a_restart_and_its_ticket_too() {
    let house = House::new();
    let auth = house.open();
    let text = Draft::new().sign();
    let token = auth.verify(&text, Role::Subscriber).await.expect("a token");
    let ticket = auth.issue_ticket(&text).await.expect("a ticket");
    auth.revoke(ISSUER, "1", token.expires).await.expect("revoked");
    assert_eq!(auth.ticket(&ticket, None).await.err(), Some(TicketError::Token(TokenError::Revoked)));
    for auth in [&auth, &house.open()] {
        assert_eq!(refused(verify(auth, &Draft::new()).await), TokenError::Revoked);
        verify(auth, &Draft::new().with("jti", "2")).await.expect("another token");
        verify(auth, &Draft::new().with("jti", Value::Null)).await.expect("a token without id");
    }
    assert!(matches!(auth.revoke("https://evil.example", "1", None).await, Err(RevokeError::Issuer)));
    assert!(matches!(auth.revoke(ISSUER, "", None).await, Err(RevokeError::Id)));
}

#[tokio::test]
async fn a_token_that_was_revoked_after_it_was_verified_is_no_longer_valid() {
    let auth = House::new().open();
    let token = verify(&auth, &Draft::new()).await.expect("a token");
    let other = verify(&auth, &Draft::new().with("jti", "2")).await.expect("a token");
    assert_eq!(auth.still_valid(&token), Ok(()));
    auth.revoke(ISSUER, "1", token.expires).await.expect("revoked");
    assert_eq!(auth.still_valid(&token), Err(TokenError::Revoked));
    assert_eq!(auth.still_valid(&other), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_token_expires_when_the_wall_clock_says_so_whatever_time_has_passed() {
    let house = House::new();
    let auth = house.open();
    house.clock.set(at(1_000));
    let token = verify(&auth, &Draft::new().with("exp", 2_000)).await.expect("a token");
    // Time passes, as the monotonic clock sees it, and the wall clock stands still.
    tokio::time::advance(std::time::Duration::from_secs(3_000)).await;
    assert_eq!(auth.still_valid(&token), Ok(()));
    // The machine has slept: the wall clock jumps.
    house.clock.set(at(2_000));
    assert_eq!(auth.still_valid(&token), Err(TokenError::Expired { since: at(2_000) }));
    let again = verify(&auth, &Draft::new().with("exp", 2_000)).await;
    assert_eq!(refused(again), TokenError::Expired { since: at(2_000) });
}

#[tokio::test]
async fn a_token_that_is_known_is_the_same_one_until_it_expires() {
    let house = House::new();
    let auth = house.open();
    let token = Draft::new().with("exp", 2_000_000_000).sign();
    house.clock.set(at(1_000));
    let once = auth.verify(&token, Role::Subscriber).await.expect("a token");
    let again = auth.verify(&token, Role::Subscriber).await.expect("a token");
    assert!(Arc::ptr_eq(&once, &again), "it is remembered");
    // In another use it is another token.
    let other = auth.verify(&token, Role::Publisher).await.expect("a token");
    assert!(!Arc::ptr_eq(&once, &other));
    house.clock.set(at(2_000_000_000));
    let later = auth.verify(&token, Role::Subscriber).await;
    assert!(matches!(refused(later), TokenError::Expired { .. }));
}
