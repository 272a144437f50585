//! The browser as the server has it: not at all. Nothing here is ever called.

use crate::ui::browser::{PageEvent, Unsent};
use crate::ui::feed::{Answer, Heard, Moment};
use crate::wire::message::Message;

pub(in crate::ui) struct Stream;

impl Stream {
    pub(in crate::ui) fn open(_address: &str, _heard: Box<dyn Fn(Heard)>) -> Self {
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
    pub(in crate::ui) fn new(_happened: Box<dyn Fn(PageEvent)>) -> Self {
        Self
    }
}

pub(in crate::ui) fn moment() -> Moment {
    Moment { now: 0.0, roll: 0.0 }
}

pub(in crate::ui) fn local_time(_at: f64) -> String {
    String::new()
}

pub(in crate::ui) fn remember(_text: &str) {}

pub(in crate::ui) fn recall() -> Option<String> {
    None
}

pub(in crate::ui) async fn copy(_text: &str) -> bool {
    false
}

pub(in crate::ui) async fn ask(_address: &str) -> Answer {
    Answer::Silent
}

pub(in crate::ui) async fn submit(_text: &str) -> Result<Message, Unsent> {
    Err(Unsent::Unreachable)
}
