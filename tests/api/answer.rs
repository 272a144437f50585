//! A complete answer, and assertions about it.

use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode, Version};
use serde::de::DeserializeOwned;
use tidings::wire::message::Message;
use tidings::wire::problem::{MEDIA_TYPE, Problem};

use crate::app::in_time;

/// The status, the headers and the whole body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn read(response: Response) -> Self {
        let (status, version, headers) = (response.status(), response.version(), response.headers().clone());
        let body = in_time("the body", response.text()).await.expect("a body");
        Self { status, version, headers, body }
    }

    /// A header's values, joined as one; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> String {
        header(&self.headers, name)
    }

    #[track_caller]
    pub(crate) fn assert_status(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        assert_eq!(self.header("content-type"), "application/json", "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The message that was published.
    #[track_caller]
    pub(crate) fn created(&self) -> Message {
        self.assert_status(201).json()
    }

    /// A problem document of this status, as every error must be, readable from every origin. Answers its
    /// detail.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        self.assert_status(status);
        assert_eq!(self.header("content-type"), MEDIA_TYPE, "{self:?}");
        assert_eq!(self.header("access-control-allow-origin"), "*", "{self:?}");
        assert_eq!(self.header("cache-control"), "private, no-store", "{self:?}");
        let problem: Problem = serde_json::from_str(&self.body).expect("a problem document");
        assert_eq!(problem.status, status, "{self:?}");
        assert!(!problem.title.is_empty() && problem.detail.ends_with(['.', '…']), "{self:?}");
        problem.detail
    }

    /// A document for a browser, of this status.
    #[track_caller]
    pub(crate) fn html(&self, status: u16) -> &str {
        self.assert_status(status);
        assert_eq!(self.header("content-type"), "text/html; charset=utf-8", "{self:?}");
        assert!(self.body.starts_with("<!DOCTYPE html>"), "{self:?}");
        &self.body
    }
}

/// A header's values, joined as one; empty where there is none.
pub(crate) fn header(headers: &HeaderMap, name: &str) -> String {
    let values = headers.get_all(name).iter().map(|value| value.to_str().expect("a text header"));
    values.collect::<Vec<_>>().join(", ")
}
