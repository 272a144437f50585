//! Hubs that refuse, that can't be reached, and that are none: what both commands say, and the code they end with.

use std::net::TcpListener;

use super::hub::Hub;
use super::program::Program;

/// Both commands in their shortest form.
const COMMANDS: [&[&str]; 2] = [&["publish", "a", "b"], &["subscribe", "a"]];

#[test]
fn a_refusal_is_told_in_the_hubs_words_and_ends_both_commands_with_its_code() {
    let hub = Hub::start();
    for (status, code) in [(401, 3), (403, 3), (400, 4), (404, 4), (405, 4), (413, 4), (421, 4)] {
        for command in COMMANDS {
            let program = Program::start(&hub, command);
            hub.request().refuse(status, "the topic is reserved");
            let ended = program.end();
            ended.assert(code, &format!("the hub answered {status} "));
            ended.assert(code, "Refused: the topic is reserved");
            assert_eq!(ended.output, "");
        }
    }
}

#[test]
fn a_hub_that_wants_a_token_is_told_with_the_way_to_give_one() {
    let hub = Hub::start();
    let program = Program::start(&hub, COMMANDS[0]);
    hub.request().refuse(401, "a token is needed");
    program.end().assert(3, "--token-file");
}

#[test]
fn where_nothing_listens_it_is_told_how_to_start_a_hub() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let hub = format!("http://{free}");
    for command in [COMMANDS[0], &["subscribe", "a", "--no-reconnect"]] {
        let ended = Program::start_with(&[("TIDINGS_HUB", &hub)], command).end();
        ended.assert(5, &format!("{hub} can't be reached"));
        ended.assert(5, &format!("`tidings serve --listen {free}`"));
    }
}

#[test]
fn what_is_no_hub_is_told_so() {
    let hub = Hub::start();
    for command in COMMANDS {
        let program = Program::start(&hub, command);
        hub.request().answer(200, &[("content-type", "text/html")], "<html>");
        program.end().assert(1, "is it a Mercure hub?");

        let program = Program::start(&hub, command);
        hub.request().answer(301, &[("location", "https://elsewhere.example/")], "");
        program.end().assert(1, "https://elsewhere.example/");
    }
}
