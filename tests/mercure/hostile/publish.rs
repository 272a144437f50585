//! What is published as a form or as JSON, whatever it holds, is heard and replayed as one event, or it is refused.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use eventsource_stream::Event;
use reqwest::Method;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tidings::server::settings::{DurabilityKind, Options};
use tidings::wire::paths;
use tokio::sync::Mutex;

use super::*;
use crate::app::{Ask, FORM, JSON};
use crate::hub::Hub;
use crate::listener::Listener;
use crate::token::{Claims, exact};

/// The names of fields, and some that are none.
const NAMES: &[&str] = &["topic", "topic", "data", "id", "type", "retry", "ttl", "private", "Topic", "", "match"];

/// Times to live that end soon, never, or are none.
const NUMBERS: &[&str] =
    &["0", "1", "86400", "18446744073709551615", "18446744073709551616", "-1", "1e3", "٣", "", "5s"];

#[derive(Clone, Debug)]
enum Body {
    Form(Bytes),
    Json(Bytes),
}

fn bodies() -> impl Strategy<Value = Body> {
    prop_oneof![damaged(forms()).prop_map(Body::Form), damaged(documents()).prop_map(Body::Json)]
}

fn forms() -> impl Strategy<Value = Vec<u8>> {
    let value = || prop_oneof![4 => text(), 1 => select(NUMBERS).prop_map(str::to_owned)];
    let one = |name: &'static str| (Just(name.to_owned()), value()).boxed();
    let others = vec(prop_oneof![8 => (select(NAMES).prop_map(str::to_owned), value()), 1 => (text(), value())], 0..4);
    let pairs = (one("topic"), one("data"), others).prop_map(|(topic, data, others)| {
        let pairs = [topic, data].into_iter().chain(others);
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().into_bytes()
    });
    prop_oneof![9 => pairs, 1 => vec(any::<u8>(), 0..60)]
}

fn documents() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        6 => text().prop_map(Value::from),
        1 => select(NUMBERS).prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    let value = leaf.clone().prop_recursive(3, 16, 4, |inner| {
        let object =
            vec((text(), inner.clone()), 0..4).prop_map(|members| Value::Object(members.into_iter().collect()));
        prop_oneof![vec(inner, 0..4).prop_map(Value::from), object]
    });
    let others = vec((select(NAMES).prop_map(str::to_owned), prop_oneof![6 => leaf, 1 => value.clone()]), 0..3);
    let update = (text(), value.clone(), others).prop_map(|(topic, data, others)| {
        let members = [("topic".to_owned(), topic.into()), ("data".to_owned(), data)].into_iter().chain(others);
        Value::Object(members.collect::<Map<_, _>>())
    });
    let update = update.boxed();
    let document = prop_oneof![4 => update.clone(), 2 => vec(update, 0..4).prop_map(Value::from), 1 => value];
    let deep = (1..300_usize).prop_map(|depth| "[".repeat(depth) + &"]".repeat(depth));
    prop_oneof![
        12 => document.prop_map(|document| document.to_string().into_bytes()),
        1 => deep.prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..60),
    ]
}

/// What is to be heard of one update.
struct Expected {
    id: String,
    name: String,
    data: String,
    retry: Option<Duration>,
    /// It may have had its time before anybody could hear it.
    fleeting: bool,
}

impl Expected {
    /// Of the fields' texts. What was taken is assumed to be right.
    fn new(data: &str, field: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name| field(name).map(|text| text.parse::<u64>().expect("a number"));
        Self {
            id: field("id").unwrap_or_default(),
            name: field("type").filter(|name| !name.is_empty()).unwrap_or_else(|| "message".into()),
            data: data.replace("\r\n", "\n").replace('\r', "\n"),
            retry: number("retry").map(Duration::from_millis),
            fleeting: number("ttl").is_some_and(|ttl| ttl < 3600),
        }
    }

    fn all(body: &Body) -> Vec<Self> {
        match body {
            Body::Form(form) => {
                let pairs: Vec<_> = form_urlencoded::parse(form).into_owned().collect();
                let field = |name: &str| Some(pairs.iter().find(|(n, _)| n == name)?.1.clone());
                vec![Self::new(&field("data").unwrap_or_default(), field)]
            }
            Body::Json(text) => {
                let document: &RawValue = serde_json::from_slice(text).expect("JSON");
                if !document.get().starts_with('[') {
                    return vec![Self::of_json(document)];
                }
                let updates: Vec<&RawValue> = serde_json::from_str(document.get()).expect("an array");
                updates.into_iter().map(Self::of_json).collect()
            }
        }
    }

    fn of_json(update: &RawValue) -> Self {
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(update.get()).expect("an object");
        let text = |name: &str| match serde_json::from_str(fields.get(name)?.get()) {
            Ok(Value::Null) => None,
            Ok(Value::String(text)) => Some(text),
            _ => Some(fields.get(name)?.get().to_owned()),
        };
        Self::new(&text("data").unwrap_or_default(), text)
    }

    fn is(&self, event: &Event) -> bool {
        let id = if self.id.is_empty() { event.id.starts_with("urn:uuid:") } else { event.id == self.id };
        id && (&event.event, &event.data, event.retry) == (&self.name, &self.data, self.retry)
    }
}

/// A hub, whoever hears all of it, and what they have heard that lasts.
struct Ear {
    hub: Hub,
    listener: Listener,
    lasting: Vec<Event>,
    /// The ids of updates that may expire before they are replayed, or not.
    fleeting: HashSet<String>,
    sentinels: usize,
}

impl Ear {
    async fn open() -> Self {
        let options = Options {
            presence: Some(false),
            durability: Some(DurabilityKind::Os),
            keep_count: Some(0),
            ..Options::default()
        };
        let hub = Hub::start_with(options).await;
        let listener = hub.subscribe_as(&watcher(), &[("match", "*")]).await;
        Self { hub, listener, lasting: Vec::new(), fleeting: HashSet::new(), sentinels: 0 }
    }

    /// Publishes the body. Answers how many updates were taken; `None` where it was refused.
    async fn publish(&mut self, body: &Body) -> Result<Option<usize>, TestCaseError> {
        let (media_type, bytes) = match body {
            Body::Form(bytes) => (FORM, bytes),
            Body::Json(bytes) => (JSON, bytes),
        };
        let request = self.hub.request(Method::POST, paths::HUB).bearer_auth(self.hub.publisher());
        let request = request.header("content-type", media_type).header("accept", JSON).body(bytes.clone());
        let answer = request.answer().await;
        let heard = self.hear().await;
        if answer.status != 200 {
            prop_assert!([400, 413].contains(&answer.status.as_u16()), "{answer:?}");
            answer.problem(answer.status.as_u16());
            prop_assert!(heard.is_empty(), "{heard:?}");
            return Ok(None);
        }
        // A form is answered with its id alone, whatever is accepted.
        let ids: Vec<String> = match body {
            Body::Form(_) => vec![answer.body],
            Body::Json(_) => answer.json(),
        };
        let expected = Expected::all(body);
        prop_assert_eq!(ids.len(), expected.len());
        let mut heard = heard.into_iter().peekable();
        for (expected, id) in expected.iter().zip(&ids) {
            match heard.next_if(|event| event.id == *id && expected.is(event)) {
                Some(event) if expected.fleeting => _ = self.fleeting.insert(event.id),
                Some(event) => self.lasting.push(event),
                None => prop_assert!(expected.fleeting, "{id} should be heard before {:?}", heard.peek()),
            }
        }
        prop_assert!(heard.next().is_none(), "more was heard than was published");
        Ok(Some(ids.len()))
    }

    /// What was heard up to now.
    async fn hear(&mut self) -> Vec<Event> {
        let sentinel = format!("urn:example:sentinel:{}", self.sentinels);
        self.sentinels += 1;
        let answer = self.hub.publish(&[("topic", "sentinel"), ("id", &sentinel), ("ttl", "86400")]).await;
        assert_eq!(answer.assert_status(200).body, sentinel);
        let mut heard = Vec::new();
        loop {
            let event = self.listener.event().await;
            if event.id == sentinel {
                return heard;
            }
            heard.push(event);
        }
    }
}

fn watcher() -> String {
    let century = crate::token::now(100 * 365 * 24 * 3600);
    Claims::new().with("exp", century).subscribe(&[exact("*")]).subscriber()
}

#[test]
fn any_body_is_heard_and_replayed_as_it_was_published_or_is_refused() {
    let runtime = runtime();
    let ear = Mutex::new(runtime.block_on(Ear::open()));
    let (taken, refused) = (Cell::new(0), Cell::new(0));
    fuzz("publish", bodies(), |body| {
        match runtime.block_on(async { ear.lock().await.publish(body).await })? {
            Some(updates) => taken.set(taken.get() + updates),
            None => refused.set(refused.get() + 1),
        }
        Ok(())
    });
    assert!(taken.get() > 0 && refused.get() > 0, "{taken:?} were taken, {refused:?} refused");
    say("publish", &format!("{} updates were taken, {} bodies refused", taken.get(), refused.get()));
    runtime.block_on(async {
        let Ear { hub, lasting, fleeting, .. } = ear.into_inner();
        let mut replay = hub.subscribe_as(&watcher(), &[("match", "*"), ("last_event_id", "earliest")]).await;
        for expected in lasting {
            let mut event = replay.event().await;
            while event.id.starts_with("urn:example:sentinel:") || (event != expected && fleeting.contains(&event.id)) {
                event = replay.event().await;
            }
            assert_eq!(event, expected, "replayed");
        }
    });
}
