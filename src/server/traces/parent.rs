//! The span that a request continues, as its headers name it (W3C Trace Context).

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;

/// Bytes of a `tracestate` that is passed on: as many as the standard asks for (3.3.1.5). A longer one is dropped, which
/// the standard allows: spans with it wait in memory.
const MAX_STATE: usize = 512;

/// Bytes of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// The headers `traceparent` and `tracestate` of a request. The default is those of a request that has none.
#[derive(Debug, Default)]
pub struct Parent {
    parent: Option<String>,
    state: Option<String>,
}

impl Parent {
    /// Takes the values of both headers, as often as a request has them. A request with several `traceparent` has no
    /// parent; several `tracestate` are one list.
    pub fn new<'a>(parents: impl Iterator<Item = &'a [u8]>, states: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut parents = parents.map(std::str::from_utf8);
        let parent = match (parents.next(), parents.next()) {
            (Some(Ok(parent)), None) if is_well_formed(parent.as_bytes()) => Some(parent.to_owned()),
            _ => None,
        };
        let states: Option<Vec<_>> = states.map(|state| std::str::from_utf8(state).ok()).collect();
        let state = states.map(|states| states.join(",")).filter(|state| state.len() <= MAX_STATE);
        Self { parent, state }
    }

    /// The context in which a child is made. Malformed headers count as missing.
    pub(super) fn context(&self) -> Context {
        TraceContextPropagator::new().extract_with_context(&Context::new(), self)
    }
}

/// Whether each field has its length and its digits, which the library doesn't check: `version-trace-span-flags`. Versions
/// after 00 may have more fields (3.2.4).
fn is_well_formed(parent: &[u8]) -> bool {
    let Some((known, rest)) = parent.split_at_checked(LENGTH) else { return false };
    let is_right = |(n, byte): (usize, &u8)| match n {
        2 | 35 | 52 => *byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    let may_be_longer = !known.starts_with(b"00");
    known.iter().enumerate().all(is_right) && (rest.is_empty() || may_be_longer && rest.starts_with(b"-"))
}

impl Extractor for Parent {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => self.parent.as_deref(),
            "tracestate" => self.state.as_deref(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TraceContextExt;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn parsed(parents: &[&str], states: &[&str]) -> Option<(String, bool, String)> {
        let bytes = |values: &[&str]| values.iter().map(|value| value.as_bytes().to_vec()).collect::<Vec<_>>();
        let (parents, states) = (bytes(parents), bytes(states));
        let parent = Parent::new(parents.iter().map(|value| &**value), states.iter().map(|value| &**value));
        let context = parent.context();
        let span = context.span().span_context().clone();
        span.is_valid().then(|| (span.trace_id().to_string(), span.is_sampled(), span.trace_state().header()))
    }

    #[test]
    fn a_parent_has_a_trace_a_flag_and_a_state() {
        let trace = || "0af7651916cd43dd8448eb211c80319c".to_owned();
        assert!(parsed(&[&format!("{}-new", PARENT.replacen("00-", "cc-", 1))], &[]).is_some());
        assert_eq!(parsed(&[PARENT], &["a=1", "b=2"]), Some((trace(), true, "a=1,b=2".into())));
        assert_eq!(parsed(&[&PARENT.replace("-01", "-00")], &[]), Some((trace(), false, String::new())));
        let long = format!("a={}", "x".repeat(MAX_STATE));
        assert_eq!(parsed(&[PARENT], &[&long]), Some((trace(), true, String::new())));
    }

    #[test]
    fn what_is_malformed_is_no_parent() {
        let zeros = "00-00000000000000000000000000000000-0000000000000000-01";
        let (short, long, sign) = (&PARENT[..54], format!("{PARENT}-00"), PARENT.replace("-01", "-+1"));
        let later = PARENT.replacen("00-", "ff-", 1);
        for parent in ["", "00", "ü", zeros, &PARENT.to_uppercase(), &later, short, &long, &sign] {
            assert_eq!(parsed(&[parent], &["a=1"]), None, "{parent}");
        }
        assert_eq!(parsed(&[PARENT, PARENT], &[]), None);
        assert_eq!(parsed(&[], &["a=1"]), None);
    }
}
