//! What hostile clients send: each attack is one request, and what is done with its connection.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use form_urlencoded::Serializer;
use tidings::wire::paths::HUB;

const FORM: &str = "application/x-www-form-urlencoded";

/// The topic of publishes whose clients give up, each with an idempotency key that is the update's data too.
pub(crate) const ABANDONED: &str = "urn:hostile:abandoned";

/// URL patterns in one request. To compile one takes twenty times as long where the compiler does not optimize.
const PATTERNS: usize = if cfg!(debug_assertions) { 5 } else { 100 };

/// One request.
pub(crate) struct Attack {
    pub(crate) request: Vec<u8>,
    pub(crate) manner: Manner,
}

/// What is done with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// The answer is read, and as much of a stream as has come soon.
    Read,
    /// It is reset as soon as the request is sent.
    Reset,
    /// It stays open, and nothing is read.
    Hold,
    /// Half of the request is sent, and it stays open.
    Half,
}

/// One client's attack number `turn`.
pub(crate) struct Attacker<'a> {
    pub(crate) number: u8,
    pub(crate) turn: usize,
    pub(crate) token: &'a str,
}

type Make = fn(&Attacker<'_>) -> (Vec<u8>, Manner);

/// One after the other, each client beginning elsewhere. A repeated publish stands right behind the abandoned one.
const ATTACKS: &[Make] = &[
    |a| (a.subscribe("GET", &a.patterns(PATTERNS), "&last_event_id=earliest", ""), Manner::Read),
    |a| (a.subscribe("GET", &a.patterns(PATTERNS), "&last_event_id=earliest", ""), Manner::Reset),
    |a| (a.subscribe("GET", &a.patterns(PATTERNS), "", "Authorization: Bearer a.b.c\r\n"), Manner::Read),
    |a| (a.subscribe("QUERY", &a.matchers(100), "", ""), Manner::Read),
    |a| (a.subscribe("QUERY", &a.matchers(100), "", ""), Manner::Hold),
    |a| (a.subscribe("QUERY", &a.matchers(100), "", ""), Manner::Reset),
    |a| (a.subscribe("GET", "match=*", "&last_event_id=earliest&gap=1", ""), Manner::Hold),
    |a| (a.subscribe("GET", "match=*", "&last_event_id=", "Last-Event-ID: urn:uuid:unknown\r\n"), Manner::Read),
    |a| (a.subscribe("GET", "match=a", "&a[]=%FF", ""), Manner::Read),
    |a| (a.subscribe("GET", "match=..&match=.", "", ""), Manner::Read),
    |a| (a.subscribe("GET", &format!("match={}", "x".repeat(9 << 10)), "", ""), Manner::Read),
    |a| (a.subscribe("GET", "match=a", "", &format!("X: {}\r\n", "x".repeat(60 << 10))), Manner::Reset),
    |a| (a.subscribe("GET", "match=a", "", &format!("Authorization: Bearer {}\r\n", unsigned())), Manner::Read),
    |a| (a.subscribe("GET", "match=a", "&ticket=unknown", ""), Manner::Read),
    |a| (a.subscribe("HEAD", "match=a", "&last_event_id=earliest", ""), Manner::Read),
    |a| (a.with_bytes_in_a_cookie(), Manner::Read),
    |a| (a.publish_form(&[("topic", ABANDONED), ("data", &a.key(a.turn))], &a.idempotency(a.turn)), Manner::Reset),
    |a| {
        (
            a.publish_form(&[("topic", ABANDONED), ("data", &a.key(a.turn - 1))], &a.idempotency(a.turn - 1)),
            Manner::Read,
        )
    },
    |a| (a.publish_form(&a.long_topics(15), ""), Manner::Read),
    |a| (a.publish_form(&a.long_topics(200), ""), Manner::Half),
    |a| (a.publish_form(&[("topic", "*")], ""), Manner::Read),
    |a| (a.publish_form(&[("topic", "urn:hostile:retry"), ("retry", "9999999999")], ""), Manner::Read),
    |a| (a.publish_form(&[("topic", "urn:hostile:ttl"), ("ttl", "0")], ""), Manner::Read),
    |a| (a.publish_form(&[("topic", "urn:hostile:id"), ("id", " a ")], ""), Manner::Read),
    |a| (a.publish_form(&[("topic", "urn:hostile:gzip")], "Content-Encoding: gzip\r\n"), Manner::Read),
    |a| {
        (
            a.publish_json(b"\xEF\xBB\xBF{\"topic\":\"urn:hostile:json\",\"data\":{\"wei\":12345678901234567890123}}"),
            Manner::Read,
        )
    },
    |a| (a.publish_json(&[b'['; 100_000]), Manner::Read),
    |a| (a.publish_json(&many_updates(100)), Manner::Read),
    |a| (a.post(&format!("{HUB}/tickets"), FORM, &a.authorization(), b""), Manner::Read),
    |a| {
        (
            a.post(&format!("{HUB}/revocations"), "application/json", &a.authorization(), b"{\"sub\":\"x\"}"),
            Manner::Read,
        )
    },
    |a| (a.get(&format!("{HUB}/subscriptions"), &a.authorization()), Manner::Reset),
    |a| (a.get(&format!("{HUB}/subscriptions?limit=10000"), ""), Manner::Read),
    |a| (a.post("/publish", "text/plain", "Origin: https://evil.example\r\n", b"a=b"), Manner::Read),
    |a| (a.post("/publish", "text/plain", "", &[b'x'; 4096]), Manner::Read),
    |a| (a.post("/publish", "text/plain", "", &[b'x'; 4096]), Manner::Half),
    |a| (a.get("/api/messages?limit=200", "Accept: text/event-stream\r\nLast-Event-ID: 0\r\n"), Manner::Hold),
    |_| {
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\xFF\xFF\xFF\x01\xFF\xFF\xFF\xFF".to_vec(), Manner::Hold)
    },
    |_| (b"\x16\x03\x01\0\0GET / HTTP/1.1\r\n\r\n".to_vec(), Manner::Reset),
];

#[expect(clippy::unused_self, reason = "the table of attacks calls all requests alike")]
impl Attacker<'_> {
    pub(crate) fn attack(&self) -> Attack {
        let (request, manner) = ATTACKS[(usize::from(self.number) + self.turn) % ATTACKS.len()](self);
        Attack { request, manner }
    }

    /// Matchers that nobody has used before.
    fn patterns(&self, count: usize) -> String {
        let pattern = |n| format!("https://good.example/:a{}-{}-{n}/(\\d+)?/*", self.number, self.turn);
        query("match_urlpattern", (0..count).map(pattern))
    }

    fn matchers(&self, count: usize) -> String {
        query("match", (0..count).map(|n| format!("urn:hostile:{}:{}:{n}", self.number, self.turn)))
    }

    fn long_topics(&self, count: usize) -> Vec<(&'static str, String)> {
        let topic = |n| format!("urn:hostile:{}:{}:{n}:{}", self.number, self.turn, "t".repeat(4000));
        (0..count).map(|n| ("topic", topic(n))).collect()
    }

    fn key(&self, turn: usize) -> String {
        format!("key-{}-{turn}", self.number)
    }

    fn idempotency(&self, turn: usize) -> String {
        format!("Idempotency-Key: \"{}\"\r\n", self.key(turn))
    }

    fn authorization(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.token)
    }

    fn get(&self, path: &str, headers: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
    }

    fn post(&self, path: &str, media_type: &str, headers: &str, body: &[u8]) -> Vec<u8> {
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\n{headers}");
        let length = format!("Content-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), length.as_bytes(), body].concat()
    }

    fn subscribe(&self, method: &str, matchers: &str, rest: &str, headers: &str) -> Vec<u8> {
        let host = "Host: localhost\r\n";
        if method != "QUERY" {
            return format!("{method} {HUB}?{matchers}{rest} HTTP/1.1\r\n{host}{headers}\r\n").into_bytes();
        }
        let body = format!("{matchers}{rest}");
        let length = body.len();
        let form = format!("Content-Type: {FORM}\r\nContent-Length: {length}\r\n");
        format!("QUERY {HUB} HTTP/1.1\r\n{host}{form}{headers}\r\n{body}").into_bytes()
    }

    fn with_bytes_in_a_cookie(&self) -> Vec<u8> {
        let head = format!("GET {HUB}?match=a HTTP/1.1\r\nHost: localhost\r\nCookie: a=");
        [head.as_bytes(), b"\xE9; mercureAuthorization=x\r\n\r\n"].concat()
    }

    fn publish_form(&self, fields: &[(&str, impl AsRef<str>)], headers: &str) -> Vec<u8> {
        let form = Serializer::new(String::new()).extend_pairs(fields).finish();
        self.post(HUB, FORM, &(self.authorization() + headers), form.as_bytes())
    }

    fn publish_json(&self, body: &[u8]) -> Vec<u8> {
        self.post(HUB, "application/json", &self.authorization(), body)
    }
}

fn query(name: &str, values: impl Iterator<Item = String>) -> String {
    Serializer::new(String::new()).extend_pairs(values.map(|value| (name, value))).finish()
}

/// A token that is signed with nothing.
fn unsigned() -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.", part(r#"{"alg":"none","typ":"at+jwt"}"#), part(r#"{"sub":"x","exp":9999999999}"#))
}

fn many_updates(count: usize) -> Vec<u8> {
    let updates = vec![r#"{"topic":"urn:hostile:array","data":"x"}"#; count];
    format!("[{}]", updates.join(",")).into_bytes()
}
