//! A restart of the program under the clients of its hub, with presence on: all come back at once, miss nothing, and
//! the list of subscriptions has each of them once. `benches/restart.rs` says how long that takes with 2,000.

mod support;

use futures_util::future::join_all;
use support::{Program, in_time};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_clients_as_the_system_allows_wait_to_be_accepted_and_none_is_dropped() {
    let data = tempfile::tempdir().expect("a folder");
    let program = Program::start(data.path(), &[]);
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("Linux's /proc");
    let count = most.trim().parse::<usize>().expect("a number").min(2000);
    rlimit::increase_nofile_limit(u64::MAX).expect("enough open files");
    // It accepts nothing, as one that has a thousand requests to answer first.
    program.signal("STOP");
    let connections = join_all((0..count).map(|_| TcpStream::connect(program.address())));
    let connections = in_time("all connections", connections).await;
    assert!(connections.iter().all(Result::is_ok));
}
