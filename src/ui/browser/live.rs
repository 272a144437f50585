//! The browser as it is, through `web_sys`.
//!
//! Everything that is opened here is owned: dropping it closes the stream, stops the timer, removes the listener.
//! Nothing is leaked with `forget`.

#[path = "requests.rs"]
mod requests;

use std::rc::Rc;

use js_sys::{Date, Math, Reflect};
use leptos::prelude::document;
use send_wrapper::SendWrapper;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Event, EventSource, EventTarget, MessageEvent, Storage, window};

pub(in crate::ui) use requests::{ask, post};

use super::{EVENT_NAMES, PageEvent};
use crate::ui::stream::{ConnectionEvent, Moment};

/// Listens for events of a target until it is dropped.
struct Listener {
    target: EventTarget,
    names: &'static [&'static str],
    closure: Closure<dyn FnMut(Event)>,
}

impl Listener {
    fn new(target: &EventTarget, names: &'static [&'static str], on_event: impl FnMut(Event) + 'static) -> Self {
        let closure = Closure::new(on_event);
        for name in names {
            _ = target.add_event_listener_with_callback(name, closure.as_ref().unchecked_ref());
        }
        Self { target: target.clone(), names, closure }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for name in self.names {
            _ = self.target.remove_event_listener_with_callback(name, self.closure.as_ref().unchecked_ref());
        }
    }
}

/// An open `EventSource`. Dropping it closes it.
pub(in crate::ui) struct Stream {
    _open: SendWrapper<Option<Source>>,
}

struct Source {
    source: EventSource,
    _listeners: [Listener; 2],
}

impl Drop for Source {
    fn drop(&mut self) {
        self.source.close();
    }
}

impl Stream {
    /// Opens the stream at `address`. One listener receives all names, which keeps events in order.
    pub(in crate::ui) fn open(address: &str, on_event: Box<dyn Fn(ConnectionEvent)>) -> Self {
        let source = EventSource::new(address).ok().map(|source| {
            let on_event = Rc::new(on_event);
            let state = {
                let (source, on_event) = (source.clone(), on_event.clone());
                Listener::new(source.clone().as_ref(), &["open", "error"], move |event| {
                    // An event that the server named `error` or `open` is not the connection's own.
                    if event.dyn_ref::<MessageEvent>().is_some() {
                        return;
                    }
                    on_event(match event.type_().as_str() {
                        "open" => ConnectionEvent::Opened,
                        _ => ConnectionEvent::Lost { refused: source.ready_state() == EventSource::CLOSED },
                    });
                })
            };
            let events = Listener::new(source.as_ref(), &EVENT_NAMES, move |event| {
                let Some(event) = event.dyn_ref::<MessageEvent>() else { return };
                let data = event.data().as_string().unwrap_or_default();
                on_event(ConnectionEvent::Event { id: event.last_event_id(), name: event.type_(), data });
            });
            Source { source, _listeners: [state, events] }
        });
        Self { _open: SendWrapper::new(source) }
    }
}

/// Calls back once. Dropping it before then stops it.
pub(in crate::ui) struct Timer {
    id: i32,
    _due: SendWrapper<Closure<dyn FnMut()>>,
}

impl Timer {
    pub(in crate::ui) fn after(milliseconds: f64, due: Box<dyn FnOnce()>) -> Self {
        let due = Closure::once(due);
        let set = window().map(|window| {
            let due = due.as_ref().unchecked_ref();
            window.set_timeout_with_callback_and_timeout_and_arguments_0(due, milliseconds.max(0.0).ceil() as i32)
        });
        Self { id: set.and_then(Result::ok).unwrap_or_default(), _due: SendWrapper::new(due) }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(window) = window() {
            window.clear_timeout_with_handle(self.id);
        }
    }
}

/// Reports the state of the page as a whole: at once, and whenever it changes.
pub(in crate::ui) struct Listeners {
    _listeners: SendWrapper<Option<[Listener; 2]>>,
}

impl Listeners {
    pub(in crate::ui) fn new(on_event: Box<dyn Fn(PageEvent)>) -> Self {
        let listeners = window().map(|window| {
            // A tab that was opened in the background is hidden from the start.
            on_event(PageEvent::Visible(!document().hidden()));
            on_event(PageEvent::Online(window.navigator().on_line()));
            let on_event = Rc::new(on_event);
            let visibility = {
                let on_event = on_event.clone();
                Listener::new(document().as_ref(), &["visibilitychange"], move |_| {
                    on_event(PageEvent::Visible(!document().hidden()));
                })
            };
            let network = Listener::new(window.as_ref(), &["online", "offline"], move |event| {
                on_event(PageEvent::Online(event.type_() == "online"));
            });
            [visibility, network]
        });
        Self { _listeners: SendWrapper::new(listeners) }
    }
}

/// Now, on a clock that never runs backwards while the page is open.
pub(in crate::ui) fn moment() -> Moment {
    let performance = window().and_then(|window| window.performance());
    let now = performance.map_or_else(Date::now, |performance| performance.time_origin() + performance.now());
    Moment { now, jitter: Math::random() }
}

/// `21 Nov 10:30:00.123`, where the visitor is.
pub(in crate::ui) fn local_time(at: f64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let date = Date::new(&JsValue::from_f64(at));
    let month = MONTHS.get(date.get_month() as usize).copied().unwrap_or_default();
    let (day, hours, minutes, seconds) = (date.get_date(), date.get_hours(), date.get_minutes(), date.get_seconds());
    let milliseconds = date.get_milliseconds();
    format!("{day:02} {month} {hours:02}:{minutes:02}:{seconds:02}.{milliseconds:03}")
}

/// Keeps a text under a key until the tab is closed, if the browser allows that.
pub(in crate::ui) fn save(key: &str, text: &str) {
    if let Some(storage) = storage() {
        _ = storage.set_item(key, text);
    }
}

/// The text that was kept under a key.
pub(in crate::ui) fn load(key: &str) -> Option<String> {
    storage()?.get_item(key).ok()?
}

fn storage() -> Option<Storage> {
    window()?.session_storage().ok()?
}

/// Puts a text on the clipboard. Answers false where the browser forbids it: without HTTPS, away from localhost.
pub(in crate::ui) async fn copy(text: &str) -> bool {
    let Some(window) = window() else { return false };
    let navigator = window.navigator();
    let allowed = Reflect::get(&navigator, &"clipboard".into()).is_ok_and(|clipboard| !clipboard.is_undefined());
    allowed && JsFuture::from(navigator.clipboard().write_text(text)).await.is_ok()
}
