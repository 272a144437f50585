//! The browser as it is, through `web_sys`.
//!
//! Whatever is opened here is owned: dropping it closes the stream, stops the timer, takes the
//! listener away. Nothing is leaked with `forget`.

use js_sys::{Date, Math, Reflect};
use leptos::prelude::document;
use send_wrapper::SendWrapper;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortController, Event, EventSource, EventTarget, MessageEvent, Request, RequestInit, Response, Storage, window,
};

use super::{EVENT_NAMES, PageEvent, Unsent};
use crate::ui::feed::{Answer, Heard, Moment};
use crate::wire::message::{Message, Submission};
use crate::wire::{paths, problem};

/// Where progress is kept over a reload, in this tab's storage.
const STORAGE_KEY: &str = "tidings.bursts";

/// A listener on something, taken away when it is dropped.
struct Listener {
    target: EventTarget,
    names: &'static [&'static str],
    closure: Closure<dyn FnMut(Event)>,
}

impl Listener {
    fn new(target: &EventTarget, names: &'static [&'static str], happened: impl FnMut(Event) + 'static) -> Self {
        let closure = Closure::new(happened);
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
    /// Opens the stream at `address`. One listener hears all names, so that events keep their order.
    pub(in crate::ui) fn open(address: &str, heard: Box<dyn Fn(Heard)>) -> Self {
        let source = EventSource::new(address).ok().map(|source| {
            let heard = std::rc::Rc::new(heard);
            let state = {
                let (source, heard) = (source.clone(), heard.clone());
                Listener::new(source.clone().as_ref(), &["open", "error"], move |event| {
                    // An event that the server named `error` or `open` is not the connection's own.
                    if event.dyn_ref::<MessageEvent>().is_some() {
                        return;
                    }
                    heard(match event.type_().as_str() {
                        "open" => Heard::Open,
                        _ => Heard::Lost { refused: source.ready_state() == EventSource::CLOSED },
                    });
                })
            };
            let events = Listener::new(source.as_ref(), &EVENT_NAMES, move |event| {
                let Some(event) = event.dyn_ref::<MessageEvent>() else { return };
                let data = event.data().as_string().unwrap_or_default();
                heard(Heard::Event { id: event.last_event_id(), name: event.type_(), data });
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

/// Hears how the page stands as a whole: at once, and whenever that changes.
pub(in crate::ui) struct Listeners {
    _listeners: SendWrapper<Option<[Listener; 2]>>,
}

impl Listeners {
    pub(in crate::ui) fn new(happened: Box<dyn Fn(PageEvent)>) -> Self {
        let listeners = window().map(|window| {
            // A tab that was opened in the background has never been looked at.
            happened(PageEvent::Visible(!document().hidden()));
            happened(PageEvent::Online(window.navigator().on_line()));
            let happened = std::rc::Rc::new(happened);
            let looked_at = {
                let happened = happened.clone();
                Listener::new(document().as_ref(), &["visibilitychange"], move |_| {
                    happened(PageEvent::Visible(!document().hidden()));
                })
            };
            let network = Listener::new(window.as_ref(), &["online", "offline"], move |event| {
                happened(PageEvent::Online(event.type_() == "online"));
            });
            [looked_at, network]
        });
        Self { _listeners: SendWrapper::new(listeners) }
    }
}

/// Now, on a clock that never runs backwards while the page is open.
pub(in crate::ui) fn moment() -> Moment {
    let performance = window().and_then(|window| window.performance());
    let now = performance.map_or_else(Date::now, |performance| performance.time_origin() + performance.now());
    Moment { now, roll: Math::random() }
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

/// Keeps a text until the tab is closed. A browser that keeps nothing is none the worse for it.
pub(in crate::ui) fn remember(text: &str) {
    if let Some(storage) = storage() {
        _ = storage.set_item(STORAGE_KEY, text);
    }
}

/// The text that was kept.
pub(in crate::ui) fn recall() -> Option<String> {
    storage()?.get_item(STORAGE_KEY).ok()?
}

fn storage() -> Option<Storage> {
    window()?.session_storage().ok()?
}

/// Puts a text on the clipboard. False where a page may not: without HTTPS, away from localhost.
pub(in crate::ui) async fn copy(text: &str) -> bool {
    let Some(window) = window() else { return false };
    let navigator = window.navigator();
    let allowed = Reflect::get(&navigator, &"clipboard".into()).is_ok_and(|clipboard| !clipboard.is_undefined());
    allowed && JsFuture::from(navigator.clipboard().write_text(text)).await.is_ok()
}

/// Asks what the server has against a stream at this address.
pub(in crate::ui) async fn ask(address: &str) -> Answer {
    let abort = AbortController::new().ok();
    let init = RequestInit::new();
    init.set_signal(abort.as_ref().map(AbortController::signal).as_ref());
    let Some(response) = fetch(address, &init, &[("accept", "text/event-stream")]).await else { return Answer::Silent };
    if response.status() == 204 {
        return Answer::Ended;
    }
    if response.ok() {
        // It streams now: this response would go on for ever.
        if let Some(abort) = abort {
            abort.abort();
        }
        return Answer::Stream;
    }
    Answer::Refused(problem(&response).await)
}

/// Submits a message through the REST API, as any other client does.
pub(in crate::ui) async fn submit(text: &str) -> Result<Message, Unsent> {
    let body = serde_json::to_string(&Submission { message: text.to_owned() }).unwrap_or_default();
    let init = RequestInit::new();
    init.set_method("POST");
    init.set_body(&body.into());
    let headers = [("accept", "application/json"), ("content-type", "application/json")];
    let response = fetch(paths::MESSAGES, &init, &headers).await.ok_or(Unsent::Unreachable)?;
    if !response.ok() {
        return Err(Unsent::Refused(problem(&response).await));
    }
    let text = body_of(&response).await.ok_or(Unsent::Unreachable)?;
    serde_json::from_str(&text).map_err(|_| Unsent::Unreachable)
}

async fn fetch(address: &str, init: &RequestInit, headers: &[(&str, &str)]) -> Option<Response> {
    let request = Request::new_with_str_and_init(address, init).ok()?;
    for (name, value) in headers {
        request.headers().set(name, value).ok()?;
    }
    let response = JsFuture::from(window()?.fetch_with_request(&request)).await.ok()?;
    response.dyn_into().ok()
}

async fn body_of(response: &Response) -> Option<String> {
    JsFuture::from(response.text().ok()?).await.ok()?.as_string()
}

/// What the server wrote about a refusal, or the little that its status says.
async fn problem(response: &Response) -> problem::Problem {
    let body = body_of(response).await.unwrap_or_default();
    serde_json::from_str(&body).unwrap_or_else(|_| problem::Problem {
        status: response.status(),
        title: response.status_text(),
        detail: format!("The server answered with status {}.", response.status()),
    })
}
