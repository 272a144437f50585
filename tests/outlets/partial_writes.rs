//! The system takes as little at once as it can: the sockets have the smallest buffers there are.

use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use socket2::{Domain, Socket, Type};
use tidings::server::Server;
use tidings::server::settings::Options;
use tidings::wire::paths::HUB;
use tokio::net::TcpListener;

use crate::stream::{Outlet, Stream};
use crate::support::in_time;

/// A listener whose connections have send buffers of about this many bytes, but not less than the system's smallest.
fn listen(send_buffer: usize) -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_send_buffer_size(send_buffer).expect("an option");
    socket.set_nonblocking(true).expect("an option");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    socket.listen(16).expect("a listener");
    TcpListener::from_std(socket.into()).expect("a listener")
}

/// Publishes updates of these sizes, then one without data.
async fn publish(address: SocketAddr, sizes: Vec<usize>) -> Vec<String> {
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut ids = Vec::new();
    for size in sizes.into_iter().chain([0]) {
        let body = format!("topic=a&data={}", "x".repeat(size));
        let request = http.post(format!("http://{address}{HUB}")).body(body);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = in_time("an answer", request.send()).await.expect("an answer");
        ids.push(answer.text().await.expect("an id"));
    }
    ids
}

async fn deliver(sizes: Vec<usize>, pieces: &[usize], send_buffer: usize, receive_buffer: u32) -> [Vec<String>; 2] {
    let data = tempfile::tempdir().expect("a folder");
    let options = Options {
        data: Some(data.path().into()),
        publish_without_token: Some(true),
        rate_limit: Some(0),
        max_streams: Some(0),
        ..Options::default()
    };
    let listener = listen(send_buffer);
    let address = listener.local_addr().expect("an address");
    let server = Server::open(options.resolve().expect("settings"), vec![listener.into()]).expect("the server starts");
    let server = tokio::spawn(server.run(std::future::pending()));
    let mut stream = Stream::open(Outlet::Direct, address, receive_buffer, "", "").await;
    let publishing = tokio::spawn(publish(address, sizes));
    for piece in pieces.iter().cycle() {
        assert!(stream.read(*piece).await, "the stream ended after {} updates", stream.ids.len());
        if stream.is_over {
            break;
        }
    }
    let published = publishing.await.expect("no panic");
    server.abort();
    [published, stream.ids]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_system_takes_at_once_the_client_reads_exactly_the_updates(
        sizes in vec(prop_oneof![1..200_usize, 1..40_000_usize], 1..60),
        pieces in vec(prop_oneof![1..50_usize, 1..20_000_usize], 1..20),
        send_buffer in 1..20_000_usize,
        receive_buffer in 1..20_000_u32,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let [published, heard] = runtime.block_on(deliver(sizes, &pieces, send_buffer, receive_buffer));
        prop_assert_eq!(published, heard);
    }
}
