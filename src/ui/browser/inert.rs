//! The stand-in for the browser on the server. Nothing here is ever called.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ui::browser::{PageEvent, RequestError};
use crate::ui::stream::{Answer, ConnectionEvent, Moment};

pub(in crate::ui) struct Stream;

impl Stream {
    pub(in crate::ui) fn open(_address: &str, _on_event: Box<dyn Fn(ConnectionEvent)>) -> Self {
        Self
    }
}

pub(in crate::ui) struct Timer;

impl Timer {
    pub(in crate::ui) fn after(_milliseconds: f64, _due: Box<dyn FnOnce()>) -> Self {
        Self
    }
}

pub(in crate::ui) struct Listeners;

impl Listeners {
    pub(in crate::ui) fn new(_on_event: Box<dyn Fn(PageEvent)>) -> Self {
        Self
    }
}

pub(in crate::ui) fn moment() -> Moment {
    Moment { now: 0.0, jitter: 0.0 }
}

pub(in crate::ui) fn local_time(_at: f64) -> String {
    String::new()
}

pub(in crate::ui) fn save(_key: &str, _text: &str) {}

pub(in crate::ui) fn load(_key: &str) -> Option<String> {
    None
}

pub(in crate::ui) async fn copy(_text: &str) -> bool {
    false
}

pub(in crate::ui) async fn ask(_address: &str) -> Answer {
    Answer::Silent
}

pub(in crate::ui) async fn post<T: DeserializeOwned>(
    _address: &str,
    _body: &impl Serialize,
) -> Result<T, RequestError> {
    Err(RequestError::Unreachable)
}
