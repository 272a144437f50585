//! What a user of tokens relies on. `tests/mercure` asks the same of the server; here each rule stands alone, and every
//! reason is told apart.

mod details;
mod hostile;
mod key_files;
mod keys;
mod legacy;
mod tickets;
mod validation;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::{AsBigEndian, AsDer, Curve25519SeedBin, EcPrivateKeyBin};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use chrono::{TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use super::*;

const ISSUER: &str = "https://issuer.example";
const RESOURCE: &str = "https://hub.example/.well-known/mercure";
const SECRET: &str = "a secret of the issuer that is long enough";

fn patterns() -> Arc<Patterns> {
    Arc::new(Patterns::new(Url::parse(RESOURCE).expect("a URL")))
}

/// A wall clock that a test sets; until then it tells the time.
#[derive(Clone, Default)]
struct WallClock(Arc<Mutex<Option<DateTime<Utc>>>>);

impl WallClock {
    fn now(&self) -> DateTime<Utc> {
        self.0.lock().expect("a lock").unwrap_or_else(Utc::now)
    }

    fn set(&self, now: DateTime<Utc>) {
        *self.0.lock().expect("a lock") = Some(now);
    }

    fn step(&self, by: TimeDelta) {
        self.set(self.now() + by);
    }
}

/// A time in seconds since 1970.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("a time")
}

/// A folder with key files, and the options that name them.
struct House {
    folder: TempDir,
    options: AuthOptions,
    clock: WallClock,
}

impl House {
    /// Trusts one issuer, whose tokens are signed with [`SECRET`].
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options = AuthOptions {
            resource: RESOURCE.into(),
            issuers: Vec::new(),
            data: folder.path().join("data"),
            shared: None,
            legacy: false,
        };
        let mut house = Self { folder, options, clock: WallClock::default() };
        let key = house.file("secret", SECRET);
        house.options.issuers = vec![issuer(ISSUER, KeySource::File(key))];
        house
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path
    }

    /// Trusts the same issuer with this file's keys instead.
    fn with_key(content: impl AsRef<[u8]>) -> Self {
        let mut house = Self::new();
        house.options.issuers = vec![issuer(ISSUER, KeySource::File(house.file("key", content)))];
        house
    }

    fn legacy(mut self) -> Self {
        self.options.legacy = true;
        self
    }

    fn try_open(&self) -> Result<Arc<Auth>, AuthError> {
        let clock = self.clock.clone();
        Auth::open(self.options.clone(), patterns(), Arc::new(move || clock.now()))
    }

    #[track_caller]
    fn open(&self) -> Arc<Auth> {
        self.try_open().unwrap_or_else(|error| panic!("{error}"))
    }

    #[track_caller]
    fn refuses_to_open(&self) -> String {
        self.try_open().err().expect("an error").to_string()
    }
}

fn issuer(name: &str, keys: KeySource) -> IssuerOptions {
    IssuerOptions { issuer: name.into(), publisher: keys.clone(), subscriber: keys }
}

/// A token to be signed: right in everything, and without rights.
#[derive(Clone)]
struct Draft {
    header: Value,
    claims: Value,
}

impl Draft {
    fn new() -> Self {
        let now = Utc::now().timestamp();
        let claims = json!({
            "iss": ISSUER, "aud": RESOURCE, "sub": "somebody", "client_id": "tests", "jti": "1", "iat": now, "exp": now + 600,
        });
        Self { header: json!({ "alg": "HS256", "typ": "at+jwt" }), claims }
    }

    /// With another claim; `null` takes it away.
    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.claims, name, value.into());
        self
    }

    fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.header, name, value.into());
        self
    }

    fn details(self, details: Value) -> Self {
        self.with("authorization_details", details)
    }

    fn sign(&self) -> String {
        self.sign_with(&EncodingKey::from_secret(SECRET.as_bytes()), Algorithm::HS256)
    }

    /// Signed so. The header says what it was told to say.
    fn sign_with(&self, key: &EncodingKey, algorithm: Algorithm) -> String {
        let message = format!("{}.{}", encoded(self.header.to_string()), encoded(self.claims.to_string()));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).expect("a signature");
        format!("{message}.{signature}")
    }
}

fn set(object: &mut Value, name: &str, value: Value) {
    let object = object.as_object_mut().expect("an object");
    match value {
        Value::Null => drop(object.remove(name)),
        value => drop(object.insert(name.into(), value)),
    }
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

async fn verify(auth: &Auth, draft: &Draft) -> Result<Arc<Token>, TokenError> {
    auth.verify(&draft.sign(), Role::Subscriber).await
}

#[track_caller]
fn refused(verified: Result<Arc<Token>, TokenError>) -> TokenError {
    verified.expect_err("a refusal")
}

/// A pair of keys, in every way they are written.
struct Pair {
    algorithms: Vec<Algorithm>,
    private_pem: String,
    public_pem: String,
    private_jwk: Value,
    public_jwk: Value,
    signing: EncodingKey,
}

impl Pair {
    fn ed25519() -> Self {
        let pair = Ed25519KeyPair::generate().expect("a key");
        let (seed, public) = (pair.seed().expect("a seed"), pair.public_key());
        let seed: Curve25519SeedBin<'_> = seed.as_be_bytes().expect("bytes");
        let public_jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": encoded(public) });
        let private = pair.to_pkcs8v1().expect("PKCS #8");
        Self::new(
            vec![Algorithm::EdDSA],
            private.as_ref(),
            public.as_der().expect("a public key").as_ref(),
            public_jwk,
            json!({ "d": encoded(seed.as_ref()) }),
            EncodingKey::from_ed_der(private.as_ref()),
        )
    }

    fn p256() -> Self {
        Self::curve(
            &EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
            "P-256",
            Algorithm::ES256,
        )
    }

    fn p384() -> Self {
        Self::curve(
            &EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key"),
            "P-384",
            Algorithm::ES384,
        )
    }

    fn curve(pair: &EcdsaKeyPair, name: &str, algorithm: Algorithm) -> Self {
        let public = pair.public_key();
        let (x, y) = public.as_ref()[1..].split_at(public.as_ref().len() / 2);
        let public_jwk = json!({ "kty": "EC", "crv": name, "x": encoded(x), "y": encoded(y) });
        let d: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().expect("bytes");
        let private = pair.to_pkcs8v1().expect("PKCS #8");
        Self::new(
            vec![algorithm],
            private.as_ref(),
            public.as_der().expect("a public key").as_ref(),
            public_jwk,
            json!({ "d": encoded(d.as_ref()) }),
            EncodingKey::from_ec_der(private.as_ref()),
        )
    }

    fn rsa() -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let private = pair.as_der().expect("PKCS #8");
        let signing = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", private.as_ref()).as_bytes()).expect("a key");
        let numbers = integers(signing.as_bytes());
        let [_, n, e, d, p, q, dp, dq, qi] = &numbers[..] else { panic!("{} numbers", numbers.len()) };
        use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
        Self::new(
            vec![RS256, RS384, RS512, PS256, PS384, PS512],
            private.as_ref(),
            pair.public_key().as_der().expect("a public key").as_ref(),
            json!({ "kty": "RSA", "n": encoded(n), "e": encoded(e) }),
            json!({
                "d": encoded(d), "p": encoded(p), "q": encoded(q), "dp": encoded(dp), "dq": encoded(dq), "qi": encoded(qi),
            }),
            signing,
        )
    }

    fn new(
        algorithms: Vec<Algorithm>,
        private: &[u8],
        public: &[u8],
        public_jwk: Value,
        private_members: Value,
        signing: EncodingKey,
    ) -> Self {
        let mut private_jwk = public_jwk.clone();
        for (name, value) in private_members.as_object().expect("an object") {
            set(&mut private_jwk, name, value.clone());
        }
        let (private_pem, public_pem) = (pem("PRIVATE KEY", private), pem("PUBLIC KEY", public));
        Self { algorithms, private_pem, public_pem, private_jwk, public_jwk, signing }
    }

    fn all() -> [Self; 4] {
        [Self::ed25519(), Self::p256(), Self::p384(), Self::rsa()]
    }

    /// The public key as SubjectPublicKeyInfo.
    fn public_der(&self) -> Vec<u8> {
        let body: String = self.public_pem.lines().filter(|line| !line.starts_with("-----")).collect();
        BASE64_STANDARD.decode(body).expect("base64")
    }

    /// A token that this pair has signed.
    fn token(&self, draft: &Draft) -> String {
        let algorithm = self.algorithms[0];
        draft.clone().header("alg", format!("{algorithm:?}")).sign_with(&self.signing, algorithm)
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The integers of a DER sequence that holds nothing else, without the zeros before them.
fn integers(mut der: &[u8]) -> Vec<Vec<u8>> {
    let element = |der: &mut &[u8]| {
        let (length, rest) = match der[1] {
            short @ 0..0x80 => (usize::from(short), &der[2..]),
            long => {
                let (length, rest) = der[2..].split_at(usize::from(long & 0x7f));
                (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
        };
        let (content, rest) = rest.split_at(length);
        *der = rest;
        content.to_vec()
    };
    let sequence = element(&mut der);
    let mut rest = &sequence[..];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let number = element(&mut rest);
        found.push(number[number.iter().take_while(|&&byte| byte == 0).count()..].to_vec());
    }
    found
}
