//! Hostile input at the hub's doors: what is published, what is asked for, and what arrives.

mod frames;
mod publish;
mod subscribe;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tokio::runtime::{Builder, Runtime};

use crate::fuzz::{fuzz, say};

/// What could be taken for something else on its way.
const TRICKY: &[&str] = &[
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "\0",
    "data: x",
    "data:",
    "id: 9",
    "event: close",
    "retry: 1",
    ":",
    " ",
    "\t",
    "\u{feff}",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{200d}",
    "\u{fffd}",
    "😀",
    "*",
    "#",
    "earliest",
    "mercure",
    "/.well-known/mercure/x",
    "https://example.com/books/1",
    "%",
    "\"",
    "\\u0000",
    "{",
];

fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        3 => select(TRICKY).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        3 => "[a-z/:]{1,8}",
    ];
    prop_oneof![
        4 => "[a-z/:]{1,8}",
        4 => vec(part, 0..8).prop_map(|parts| parts.concat()),
        1 => any::<String>(),
    ]
}

/// Bytes, in which some others may stand.
fn damaged(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Bytes> {
    let damage =
        prop_oneof![7 => Just(None), 1 => (any::<prop::sample::Index>(), vec(any::<u8>(), 0..4)).prop_map(Some)];
    (bytes, damage).prop_map(|(mut bytes, damage)| {
        if let Some((at, other)) = damage {
            let at = at.index(bytes.len() + 1);
            let end = bytes.len().min(at + other.len());
            bytes.splice(at..end, other);
        }
        bytes.into()
    })
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}
