//! The command line's client, `tidings publish` and `tidings subscribe`: the program itself against a hub that each
//! test plays, request by request.

mod hub;
#[path = "../support/lines.rs"]
mod lines;
mod program;
mod publish;
mod refusals;
mod resume;
mod subscribe;
mod token;

use std::time::Duration;

/// Long enough for a machine that is busy with other things; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
