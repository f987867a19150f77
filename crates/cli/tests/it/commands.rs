//! The smaller commands, and what the program says about itself.

use crate::{
    mock::Answer,
    world::{PASSWORD, SCAN, World},
};
use dunlin_contracts::problem::Problem;

#[test]
fn scans_are_listed_by_what_was_asked_for() {
    let world = World::new();
    let run = world.run(&["scans", "--status", "complete", "--repository", "acme/shop", "--limit", "7"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let asked = &world.api.requests_of("GET /v1/scans")[0].path;
    assert_eq!(asked, &format!("/v1/scans?status=complete&repository_id={}&limit=7", uuid::Uuid::from_u128(9)));
    insta::assert_snapshot!(run.out, @r#"
    id                                    state     findings  accepted (utc)    repository
    01990000-0000-7000-8000-000000000001  complete  0         2026-11-20 10:00  github.com/acme/shop (trunk at 0123456789ab)
    "#);
}

#[test]
fn a_scan_is_cancelled_by_its_id() {
    let world = World::new();
    let run = world.run(&["cancel", &SCAN.to_string()]);
    assert_eq!((run.code, run.err), (0, format!("scan {SCAN}: cancelling\n")));
    assert_eq!(world.api.requests_of("DELETE").len(), 1);

    world.script(|script| {
        script.first.push(("DELETE", Answer::problem(&Problem::conflict("the scan has ended already"))))
    });
    let run = world.run(&["cancel", &SCAN.to_string()]);
    assert_eq!(
        (run.code, run.err.as_str()),
        (3, "error: the scan cannot be cancelled\n  because: the scan has ended already\n")
    );
}

#[test]
fn a_token_goes_from_standard_input_to_the_server() {
    let world = World::new();
    let args = ["credential", "set", "work", "--host", "github.com", "--username", "x-access-token", "--token-stdin"];
    let run = world.run_with(&args, &format!("{PASSWORD}\n"));
    assert_eq!((run.code, run.err.as_str()), (0, "credential work is stored for github.com\n"));
    let put = &world.api.requests_of("PUT /v1/credentials/work")[0];
    assert_eq!(put.json(), serde_json::json!({"host": "github.com", "username": "x-access-token", "token": PASSWORD}));

    assert_eq!(world.run_with(&args, "\n").code, 3, "an empty token was taken");
    assert_eq!(world.run_with(&args, "one\ntwo\n").code, 3, "two lines were taken");
    assert_eq!(world.run(&["credential", "delete", "work"]).code, 0);
    assert_eq!(world.api.requests_of("DELETE /v1/credentials/work").len(), 1);
}

#[test]
fn the_key_of_a_webhook_is_the_only_output() {
    let world = World::new();
    let run = world.run(&["webhook", "set", "https://hooks.example.com/x"]);
    assert_eq!((run.code, run.out.as_str()), (0, "whsec_a2V5\n"));
    assert_eq!(world.api.requests()[0].json(), serde_json::json!({"url": "https://hooks.example.com/x"}));
    assert_eq!(world.run(&["webhook", "delete"]).code, 0);
}

#[test]
fn an_answer_that_cannot_be_read_is_an_error_and_no_more() {
    let world = World::new();
    world.script(|script| script.first.push(("GET /v1/scans", Answer::typed(200, "application/json", "[1, 2"))));
    let run = world.run(&["scans"]);
    assert_eq!(run.code, 3);
    assert!(run.err.contains("gave an answer of status 200 OK that cannot be read"), "{}", run.err);
}

#[test]
fn a_server_that_is_gone_is_named() {
    let world = World::new();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = std::fs::read_to_string(world.config()).unwrap().replace(&world.api.url, &format!("http://{gone}"));
    std::fs::write(world.config(), config).unwrap();
    let run = world.run(&["scans"]);
    assert_eq!(run.code, 3);
    assert!(run.err.contains(&format!("because: {gone} cannot be reached")), "{}", run.err);
}

#[test]
fn wrong_arguments_are_errors_and_help_is_not() {
    let world = World::new();
    for wrong in [
        &["scan"][..],
        &["scan", ".", "--fail-on", "mild"],
        &["show", "not-an-id"],
        &["frobnicate"],
        &["scans", "--limit", "0"],
        &["prices", "send", "a.csv"],
        &["prices", "send", "a.csv", "--kind", "oranges"],
        &["prices", "send", "a.csv", "--kind", "ports", "--no-wait", "--timeout", "1m"],
        &["prices", "list", "--status", "accepted"],
        &["prices", "rates", "CNSGH", "NLRTM", "--from", "2026-02-30", "--to", "2026-03-01"],
    ] {
        let run = world.run(wrong);
        assert_eq!((run.code, run.out.as_str()), (3, ""), "{wrong:?}");
        assert!(run.err.starts_with("error: ") || run.err.contains("Usage"), "{}", run.err);
    }
    let help = world.run(&["--help"]);
    assert_eq!(help.code, 0);
    assert!(help.out.contains("Examples:") && help.out.contains("Exit codes:"), "{}", help.out);
    for command in ["login", "logout", "scan", "scans", "show", "cancel", "credential", "prices", "webhook"] {
        assert!(help.out.contains(&format!("\n  {command}")), "{command} is not in the help");
        assert_eq!(world.run(&[command, "--help"]).code, 0);
    }
    let version = world.run(&["--version"]);
    assert_eq!((version.code, version.out), (0, format!("dunlin {}\n", env!("CARGO_PKG_VERSION"))));
    assert!(world.api.requests().is_empty());
}
