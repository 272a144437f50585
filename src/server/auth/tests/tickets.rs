//! Tickets: good for one stream within half a minute, and then for the reconnects of the browser that opened it.

use std::time::Duration;

use tokio::time::advance;

use super::*;

/// The cookie of a browser that has opened a stream with a ticket, after it had this one.
async fn opened(auth: &Auth, ticket: &str, cookie: Option<&str>) -> Result<String, TicketError> {
    let ticket = auth.ticket(ticket, cookie).await?;
    auth.redeem(&ticket)?;
    Ok(ticket.proofs(cookie))
}

async fn issued(auth: &Auth, token: &str) -> String {
    auth.verify(token, Role::Subscriber).await.expect("a token");
    auth.issue_ticket(token).await.expect("a ticket")
}

#[tokio::test(start_paused = true)]
async fn a_ticket_opens_one_stream_within_half_a_minute() {
    let auth = House::new().open();
    let token = Draft::new().sign();
    let [once, late] = [issued(&auth, &token).await, issued(&auth, &token).await];
    assert_ne!(once, late);
    advance(TICKET_LIFETIME - Duration::from_millis(1)).await;
    assert_eq!(&*auth.ticket(&once, None).await.expect("a ticket").token.subject, "somebody");
    opened(&auth, &once, None).await.expect("a stream");
    assert_eq!(opened(&auth, &once, None).await, Err(TicketError::Spent));
    advance(Duration::from_millis(1)).await;
    assert_eq!(opened(&auth, &late, None).await, Err(TicketError::Spent));
    advance(Duration::from_secs(3600)).await;
    assert_eq!(opened(&auth, &once, None).await, Err(TicketError::Spent));
}

#[tokio::test(start_paused = true)]
async fn a_ticket_grows_old_by_the_wall_clock_too_and_no_younger_when_it_is_set_back() {
    let house = House::new();
    let auth = house.open();
    let token = Draft::new().with("exp", 4e9).sign();
    let [one, other] = [issued(&auth, &token).await, issued(&auth, &token).await];
    house.clock.step(TimeDelta::seconds(30));
    assert_eq!(opened(&auth, &one, None).await, Err(TicketError::Spent), "the machine has slept");
    house.clock.step(TimeDelta::seconds(-3600));
    opened(&auth, &other, None).await.expect("a stream");
    advance(TICKET_LIFETIME).await;
    assert_eq!(opened(&auth, &other, None).await, Err(TicketError::Spent));
}

#[tokio::test]
async fn of_two_that_use_a_ticket_at_once_one_gets_the_stream() {
    let auth = House::new().open();
    let ticket = issued(&auth, &Draft::new().sign()).await;
    let [one, other] =
        [auth.ticket(&ticket, None).await, auth.ticket(&ticket, None).await].map(|t| t.expect("a ticket"));
    assert_eq!(auth.redeem(&one), Ok(()));
    assert_eq!(auth.redeem(&other), Err(TicketError::Spent));
}

#[tokio::test(start_paused = true)]
async fn its_browser_reconnects_for_as_long_as_the_token_is_valid_also_after_a_restart() {
    let house = House::new();
    let auth = house.open();
    house.clock.set(at(1_000_000));
    let token = Draft::new().with("exp", 1_100_000).sign();
    let ticket = issued(&auth, &token).await;
    let cookie = opened(&auth, &ticket, None).await.expect("a stream");
    assert!(!cookie.contains(&ticket) && cookie.len() < 30, "{cookie}");
    let again = opened(&auth, &ticket, Some(&cookie)).await.expect("a stream");
    assert_eq!(again, cookie);
    advance(Duration::from_secs(90_000)).await;
    house.clock.set(at(1_099_999));
    opened(&auth, &ticket, Some(&cookie)).await.expect("a stream");
    let restarted = house.open();
    opened(&restarted, &ticket, Some(&cookie)).await.expect("a stream");
    assert_eq!(opened(&restarted, &ticket, None).await, Err(TicketError::Spent), "who finds it in a log");
    house.clock.set(at(1_100_000));
    let expired = TokenError::Expired { since: at(1_100_000) };
    assert_eq!(opened(&restarted, &ticket, Some(&cookie)).await, Err(TicketError::Token(expired)));
}

#[tokio::test]
async fn a_ticket_that_no_stream_was_opened_with_before_a_restart_is_refused_after_it() {
    let house = House::new();
    let ticket = issued(&house.open(), &Draft::new().sign()).await;
    assert_eq!(opened(&house.open(), &ticket, None).await, Err(TicketError::Spent));
}

#[tokio::test]
async fn the_cookie_of_another_token_proves_nothing() {
    let auth = House::new().open();
    let [mine, theirs] = [Draft::new().with("jti", "1").sign(), Draft::new().with("jti", "2").sign()];
    let [my_ticket, their_ticket] = [issued(&auth, &mine).await, issued(&auth, &theirs).await];
    let my_cookie = opened(&auth, &my_ticket, None).await.expect("a stream");
    opened(&auth, &their_ticket, None).await.expect("a stream");
    for cookie in [&*my_cookie, "", ".", "nonsense", &my_cookie[1..]] {
        assert_eq!(opened(&auth, &their_ticket, Some(cookie)).await, Err(TicketError::Spent), "{cookie}");
    }
}

#[tokio::test]
async fn a_browser_keeps_the_proofs_of_its_last_tokens_and_nothing_else() {
    let auth = House::new().open();
    let mut cookie = Some("nonsense.x.<script>".to_owned());
    let mut tickets = Vec::new();
    for id in 0..10 {
        let ticket = issued(&auth, &Draft::new().with("jti", id.to_string()).sign()).await;
        cookie = Some(opened(&auth, &ticket, cookie.as_deref()).await.expect("a stream"));
        tickets.push(ticket);
    }
    let cookie = cookie.expect("a cookie");
    assert!(cookie.len() < 200 && !cookie.contains("nonsense"), "{cookie}");
    for (id, ticket) in tickets.iter().enumerate() {
        assert_eq!(opened(&auth, ticket, Some(&cookie)).await.is_ok(), id >= 2, "{id}");
    }
}

#[tokio::test]
async fn a_ticket_tells_nothing_of_its_token_and_nothing_else_is_one() {
    let house = House::new();
    let auth = house.open();
    let token = Draft::new().sign();
    let unknown = Err(TicketError::Unknown);
    assert_eq!(opened(&auth, "", None).await, unknown, "there is no key yet");
    let ticket = issued(&auth, &token).await;
    let claims = token.split('.').nth(1).expect("claims");
    assert!(!ticket.contains(&claims[..16]) && ticket.len() < token.len() + 100, "{} {}", ticket.len(), token.len());
    let changed = format!("{}{}", if ticket.starts_with('A') { 'B' } else { 'A' }, &ticket[1..]);
    for text in ["", "nonsense", &ticket[1..], &changed, &token, &format!("{ticket}A"), &format!("{ticket}=")] {
        assert_eq!(opened(&auth, text, None).await, unknown, "{text}");
    }
    assert_eq!(opened(&House::new().open(), &ticket, None).await, unknown, "another server's");
    assert!(matches!(refused(auth.verify(&ticket, Role::Subscriber).await), TokenError::Malformed(_)));
}

#[tokio::test]
async fn the_tickets_key_is_for_its_owner_alone_and_made_with_the_first_ticket() {
    use std::os::unix::fs::PermissionsExt;
    let house = House::new();
    let auth = house.open();
    let path = house.options.data.join("ticket.key");
    assert!(!path.exists());
    issued(&auth, &Draft::new().sign()).await;
    assert_eq!(path.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    std::fs::write(&path, "short").expect("a file");
    assert!(house.refuses_to_open().contains("ticket.key"));
}

#[tokio::test]
async fn tickets_are_good_until_the_server_stops_where_their_key_cant_be_kept() {
    let house = House::new();
    let auth = house.open();
    std::fs::write(&house.options.data, "a file in the folder's place").expect("a file");
    let ticket = issued(&auth, &Draft::new().sign()).await;
    opened(&auth, &ticket, None).await.expect("a stream");
}
