//! Speaks HTTP to a real server on a free port: every address, every error, every way to resume.
//!
//! `app` starts the server and sends requests, `answer` and `listener` hold what it answers. The other modules are the
//! tests, one for each resource or concern.

mod answer;
mod app;
#[path = "../support/lines.rs"]
mod lines;
mod listener;

mod certificates;
mod client_page;
mod compressed;
mod cors;
mod counter;
mod description;
mod docs;
mod errors;
mod feed;
mod foreign_pages;
mod health;
mod http2;
mod limits;
mod list;
mod openapi;
mod operation;
mod pace;
mod ping;
mod process;
mod program;
mod proxies;
mod publish;
mod readers;
mod reload;
mod restart;
mod resume;
mod root;
mod settings;
mod shutdown;
mod stream;
mod streams;
mod submit;
mod switched_off;
mod text;
mod ticks;
mod tls;
mod traces;
