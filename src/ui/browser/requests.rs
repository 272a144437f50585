//! The page's requests, through `gloo_net`. Each has a time limit.

use std::cell::Cell;
use std::rc::Rc;

use gloo_net::http::{Request, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use web_sys::AbortController;

use super::Timer;
use crate::ui::browser::{REQUEST_TIMEOUT, RequestError};
use crate::ui::stream::Answer;
use crate::wire::problem::Problem;

/// Ends a request that takes too long. Dropping it lifts the limit.
struct TimeLimit {
    abort: Option<AbortController>,
    expired: Rc<Cell<bool>>,
    _timer: Timer,
}

impl TimeLimit {
    /// A limit of [`REQUEST_TIMEOUT`], from now.
    fn start() -> Self {
        let abort = AbortController::new().ok();
        let expired = Rc::new(Cell::new(false));
        let timer = Timer::after(REQUEST_TIMEOUT, {
            let (abort, expired) = (abort.clone(), expired.clone());
            Box::new(move || {
                expired.set(true);
                if let Some(abort) = abort {
                    abort.abort();
                }
            })
        });
        Self { abort, expired, _timer: timer }
    }

    /// Puts the request under this limit.
    fn limit(&self, request: RequestBuilder) -> RequestBuilder {
        request.abort_signal(self.abort.as_ref().map(AbortController::signal).as_ref())
    }

    /// Ends the request now.
    fn abort(&self) {
        if let Some(abort) = &self.abort {
            abort.abort();
        }
    }

    /// Why a request failed that was under this limit.
    fn error(&self) -> RequestError {
        if self.expired.get() { RequestError::TimedOut } else { RequestError::Unreachable }
    }
}

/// Asks the server why it refused a stream at this address.
pub(in crate::ui) async fn ask(address: &str) -> Answer {
    let limit = TimeLimit::start();
    let request = limit.limit(Request::get(address)).header("accept", "text/event-stream");
    let Ok(response) = request.send().await else { return Answer::Silent };
    if response.status() == 204 {
        return Answer::Ended;
    }
    if response.ok() {
        // It streams now: this response would never end.
        limit.abort();
        return Answer::Stream;
    }
    Answer::Refused(problem(&response).await)
}

/// Posts a body as JSON, and parses the answer.
pub(in crate::ui) async fn post<T: DeserializeOwned>(address: &str, body: &impl Serialize) -> Result<T, RequestError> {
    let limit = TimeLimit::start();
    let request = limit.limit(Request::post(address)).header("accept", "application/json");
    let request = request.json(body).map_err(|_| limit.error())?;
    let response = request.send().await.map_err(|_| limit.error())?;
    if !response.ok() {
        return Err(RequestError::Refused(problem(&response).await));
    }
    response.json().await.map_err(|_| limit.error())
}

/// What the server wrote about a refusal, or the little that its status says.
async fn problem(response: &Response) -> Problem {
    response.json().await.unwrap_or_else(|_| Problem {
        status: response.status(),
        title: response.status_text(),
        detail: format!("The server answered with status {}.", response.status()),
    })
}
