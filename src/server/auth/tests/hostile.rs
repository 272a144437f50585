//! What a token's text can do to us: nothing, and nothing is accepted but what was signed.

use proptest::collection::{hash_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Map;

use super::*;
use crate::fuzz::fuzz;

/// What tokens and their claims are made of, and what breaks them.
const MEMBERS: &[&str] = &[
    "typ",
    "alg",
    "kid",
    "crit",
    "iss",
    "aud",
    "exp",
    "nbf",
    "iat",
    "sub",
    "jti",
    "client_id",
    "authorization_details",
    "type",
    "actions",
    "topics",
    "match",
    "match_type",
    "payload",
    "mercure",
    "publish",
    "subscribe",
];

const TEXTS: &[&str] = &[
    ISSUER,
    RESOURCE,
    DETAIL_TYPE,
    "at+jwt",
    "HS256",
    "ES256",
    "none",
    "*",
    "publish",
    "subscribe",
    "revoke",
    "exact",
    "urlpattern",
    "/books/:id",
    "/books/{id}",
    "https://[",
    "{",
    "",
];

const NUMBERS: &[f64] = &[0.0, -1.0, 1e10, 1e19, -1e19, 1e300, -1e300, 0.5, 8.0e12, 9.3e18];

fn objects() -> impl Strategy<Value = Map<String, Value>> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(NUMBERS).prop_map(Value::from),
        select(TEXTS).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    let object = |value: BoxedStrategy<Value>| {
        let members = hash_map(select(MEMBERS), value, 0..6);
        members.prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    };
    let value = leaf.prop_recursive(5, 60, 6, move |inner| {
        let array = vec(inner.clone(), 0..5).prop_map(Value::from);
        prop_oneof![array, object(inner.boxed()).prop_map(Value::Object)]
    });
    object(value.boxed())
}

/// Details that nearly are as they must be, so that what stands deep in them is read.
fn details() -> impl Strategy<Value = Value> {
    let topic = (select(TEXTS), prop::option::of(select(TEXTS))).prop_map(|(text, kind)| match kind {
        Some(kind) => json!({ "match": text, "match_type": kind }),
        None => json!({ "match": text }),
    });
    let topic = prop_oneof![4 => topic, 1 => objects().prop_map(Value::Object)];
    let actions = vec(select(&["publish", "subscribe", "revoke", "", "\0"][..]), 0..3);
    let detail = (actions, vec(topic, 0..4), objects()).prop_map(|(actions, topics, payload)| {
        json!({ "type": DETAIL_TYPE, "actions": actions, "topics": topics, "payload": payload })
    });
    vec(prop_oneof![4 => detail, 1 => objects().prop_map(Value::Object)], 0..4).prop_map(Value::from)
}

fn roles() -> impl Strategy<Value = Role> {
    select(vec![Role::Publisher, Role::Subscriber])
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[test]
fn no_text_is_a_token_that_nobody_has_signed() {
    let (auth, runtime) = (House::new().legacy().open(), runtime());
    let part = prop_oneof![
        3 => objects().prop_map(|object| encoded(Value::Object(object).to_string())),
        1 => vec(any::<u8>(), 0..40).prop_map(encoded),
        1 => "[A-Za-z0-9_=-]{0,50}",
        1 => any::<String>(),
    ];
    let text = prop_oneof![6 => vec(part, 0..5).prop_map(|parts| parts.join(".")), 1 => any::<String>()];
    fuzz("unsigned tokens", (text, roles()), |(text, role)| {
        prop_assert!(runtime.block_on(auth.verify(text, *role)).is_err());
        if let Ok(inspection) = runtime.block_on(auth.inspect(text, &[*role])) {
            prop_assert!(inspection.refusals.iter().all(|(_, reasons)| !reasons.is_empty()));
        }
        Ok(())
    });
}

/// One change of a text.
#[derive(Clone, Debug)]
enum Change {
    Replace(Index, String),
    Insert(Index, String),
    Remove(Index, usize),
    /// This part, put in the place of that one.
    Part(usize, usize),
    End(String),
}

impl Change {
    fn any() -> impl Strategy<Value = Self> {
        let text = || prop_oneof![4 => "[A-Za-z0-9._=-]{1,3}", 1 => "[ \\t\\n\\r+/\0]", 1 => any::<char>().prop_map(String::from)];
        prop_oneof![
            4 => (any::<Index>(), text()).prop_map(|(at, text)| Self::Replace(at, text)),
            2 => (any::<Index>(), text()).prop_map(|(at, text)| Self::Insert(at, text)),
            2 => (any::<Index>(), 1..9_usize).prop_map(|(at, length)| Self::Remove(at, length)),
            1 => (0..3_usize, 0..3_usize).prop_map(|(from, to)| Self::Part(from, to)),
            2 => text().prop_map(Self::End),
        ]
    }

    /// Of a text whose characters are bytes; it may be another one afterwards.
    fn make(&self, text: &mut String, whole: &str) {
        let boundary =
            |at: &Index, text: &str| (0..=at.index(text.len() + 1)).rev().find(|&at| text.is_char_boundary(at));
        match self {
            Self::Replace(at, with) => {
                let at = boundary(at, text).unwrap_or_default();
                let end = at + text[at..].chars().next().map_or(0, char::len_utf8);
                text.replace_range(at..end, with);
            }
            Self::Insert(at, more) => text.insert_str(boundary(at, text).unwrap_or_default(), more),
            Self::Remove(at, length) => {
                let at = boundary(at, text).unwrap_or_default();
                *text = text[..at].chars().chain(text[at..].chars().skip(*length)).collect();
            }
            Self::Part(from, to) => {
                let mut parts: Vec<_> = whole.split('.').collect();
                parts[*to] = parts[*from];
                *text = parts.join(".");
            }
            Self::End(more) => text.push_str(more),
        }
    }
}

#[test]
fn a_token_that_was_changed_is_refused_whatever_was_signed_with_and_however_it_was_changed() {
    let runtime = runtime();
    let pairs = Pair::all();
    let draft = Draft::new().with("exp", 4_000_000_000_i64);
    let mut signed = vec![(House::new().legacy().open(), draft.sign())];
    signed.extend(pairs.iter().map(|pair| (House::with_key(&pair.public_pem).open(), pair.token(&draft))));
    let inputs = (0..signed.len(), vec(Change::any(), 1..4), roles());
    fuzz("changed tokens", inputs, |(which, changes, role)| {
        let (auth, token) = &signed[*which];
        // It is remembered too: that must not help what is nearly it.
        let original = runtime.block_on(auth.verify(token, *role)).expect("the token");
        let mut changed = token.clone();
        changes.iter().for_each(|change| change.make(&mut changed, token));
        if let Ok(accepted) = runtime.block_on(auth.verify(&changed, *role)) {
            prop_assert_eq!(&changed, token);
            prop_assert!(Arc::ptr_eq(&original, &accepted));
        }
        Ok(())
    });
}

#[test]
fn what_a_trusted_issuer_has_signed_is_accepted_if_all_of_it_is_right_whatever_it_says() {
    let (auth, runtime) = (House::new().legacy().open(), runtime());
    let accepted = std::cell::Cell::new(0_u64);
    let inputs = (objects(), objects(), prop::option::of(details()), prop::option::of(0..5_usize), roles());
    fuzz("signed tokens", inputs, |(header, claims, details, kept, role)| {
        let mut draft = Draft::new();
        // Few of the claims that are looked at, so that some tokens come through.
        claims.iter().take(kept.unwrap_or(usize::MAX)).for_each(|(name, value)| draft.claims[name] = value.clone());
        if kept.is_none() {
            header.iter().for_each(|(name, value)| draft.header[name] = value.clone());
        }
        if let Some(details) = details {
            draft.claims["authorization_details"] = details.clone();
        }
        let token = draft.sign();
        let verified = runtime.block_on(auth.verify(&token, *role));
        let inspection = runtime.block_on(auth.inspect(&token, &[*role])).expect("a token");
        let [(_, reasons)] = &inspection.refusals[..] else { panic!("one use") };
        prop_assert_eq!(verified.as_ref().err(), reasons.first(), "{}", draft.claims);
        let Ok(verified) = verified else { return Ok(()) };
        accepted.set(accepted.get() + 1);
        prop_assert!(inspection.rights.is_some());
        prop_assert_eq!(&*verified.issuer, ISSUER);
        prop_assert!(verified.not_expired(Utc::now()).is_ok());
        let is_legacy = draft.header["typ"] != "at+jwt" && draft.claims["mercure"].is_object();
        let aud = &draft.claims["aud"];
        let is_for_us = aud == RESOURCE || aud.as_array().is_some_and(|all| all.contains(&json!(RESOURCE)));
        prop_assert!(is_legacy || draft.claims["iss"] == ISSUER && is_for_us, "{}", draft.claims);
        Ok(())
    });
    assert!(accepted.get() > 0, "no token came through");
}
