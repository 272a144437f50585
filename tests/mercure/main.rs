//! The Mercure protocol, line by line: each test is named after a line of the specification's checklist, and
//! `docs/mercure.md` says which line each one holds.
//!
//! `hub` starts a server that trusts the keys of `token`; `hostile` is what nobody specifies; the other modules are
//! the sections of the specification.

#[allow(dead_code, reason = "the other half is for the other tests")]
#[path = "../api/answer.rs"]
mod answer;
#[allow(dead_code, reason = "the other half is for the other tests")]
#[path = "../api/app.rs"]
mod app;
#[path = "../support/fuzz.rs"]
mod fuzz;
#[allow(dead_code, reason = "the other half is for the other tests")]
#[path = "../api/listener.rs"]
mod listener;

mod hub;
mod token;

mod authorization;
mod better;
mod bodies;
mod details;
mod discovery;
mod hostile;
mod json;
mod legacy;
mod matchers;
mod pace;
mod publication;
mod reconnection;
mod revocation;
mod subscription;
mod subscriptions;
mod tickets;
mod topics;
mod validation;
