use crate::{
    mock::Answer,
    world::{NEW_TOKEN, OLD_TOKEN, PASSWORD, Pool, REFRESH, World},
};
use std::fs;
use time::Duration;

fn login(world: &World, password: &str) -> crate::world::Run {
    world.run_with(
        &["login", "--endpoint", &world.api.url, "--username", "ann", "--password-stdin"],
        &format!("{password}\n"),
    )
}

#[test]
fn a_password_becomes_a_session() {
    let world = World::signed_out();
    let run = login(&world, PASSWORD);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.err.contains("signed in to http://127.0.0.1"), "{}", run.err);

    let asked = &world.api.requests_of("POST /")[0];
    assert_eq!(asked.headers["x-amz-target"], "AWSCognitoIdentityProviderService.InitiateAuth");
    assert_eq!(asked.headers["content-type"], "application/x-amz-json-1.1");
    assert_eq!(
        asked.json(),
        serde_json::json!({"AuthFlow": "USER_PASSWORD_AUTH", "ClientId": "client",
                           "AuthParameters": {"USERNAME": "ann", "PASSWORD": PASSWORD}})
    );

    let config = fs::read_to_string(world.config()).unwrap();
    assert!(config.contains(NEW_TOKEN) && config.contains(REFRESH) && !config.contains(PASSWORD), "{config}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(world.config()).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(world.run(&["scans"]).code, 0);
}

#[test]
fn a_wrong_password_is_said_and_changes_nothing() {
    let world = World::signed_out();
    let run = login(&world, "not-it");
    assert_eq!((run.code, run.err.as_str()), (3, "error: user name or password is wrong\n"));
    assert!(!world.config().exists());
}

#[test]
fn every_refusal_of_the_user_pool_is_a_sentence() {
    fn refuse(kind: &str, message: &str) -> Answer {
        Answer::typed(
            400,
            "application/x-amz-json-1.1",
            serde_json::json!({"__type": kind, "message": message}).to_string(),
        )
    }
    let cases: [(Pool, &str); 6] = [
        (|_| refuse("com.amazonaws#UserNotFoundException", "User does not exist."), "user name or password is wrong"),
        (|_| refuse("NotAuthorizedException", "Password attempts exceeded"), "too many attempts"),
        (|_| refuse("PasswordResetRequiredException", "x"), "must be reset by an administrator"),
        (
            |_| refuse("ResourceNotFoundException", "User pool client c does not exist."),
            "user pool client that does not exist",
        ),
        (
            |_| {
                Answer::typed(
                    200,
                    "application/x-amz-json-1.1",
                    r#"{"ChallengeName":"SOFTWARE_TOKEN_MFA","Session":"s"}"#,
                )
            },
            "a second factor",
        ),
        (|_| Answer::typed(500, "text/html", "<h1>oops\x1b[2J</h1>"), "status 500: <h1>oops\\u{1b}[2J</h1>"),
    ];
    for (pool, sentence) in cases {
        let world = World::signed_out();
        world.script(|script| script.pool = pool);
        let run = login(&world, PASSWORD);
        assert_eq!(run.code, 3);
        assert!(run.err.contains(sentence), "{}", run.err);
    }
}

#[test]
fn a_new_password_cannot_be_piped() {
    let world = World::signed_out();
    world.script(|script| {
        script.pool = |_| {
            Answer::typed(
                200,
                "application/x-amz-json-1.1",
                r#"{"ChallengeName":"NEW_PASSWORD_REQUIRED","Session":"s"}"#,
            )
        };
    });
    let run = login(&world, PASSWORD);
    assert_eq!(run.code, 3);
    assert!(run.err.contains("needs a new password first"), "{}", run.err);
}

#[test]
fn a_password_goes_only_to_a_dunlin_server() {
    let world = World::signed_out();
    let run = world
        .run_with(&["login", "--endpoint", "http://api.example.com", "--username", "a", "--password-stdin"], PASSWORD);
    assert_eq!(run.code, 3);
    assert!(run.err.contains("not encrypted"), "{}", run.err);

    world.script(|script| {
        script.first.push(("GET /v1/health", Answer::typed(200, "text/html", "<html>a router</html>")))
    });
    let run = login(&world, PASSWORD);
    assert_eq!(run.code, 3);
    assert!(run.err.contains("does not answer like a Dunlin server"), "{}", run.err);
    assert!(world.api.requests_of("POST /").is_empty(), "the password was sent");
}

#[test]
fn without_a_terminal_nothing_is_asked() {
    let world = World::signed_out();
    let run = world.run(&["login", "--endpoint", &world.api.url, "--username", "ann"]);
    assert_eq!(run.code, 3);
    assert!(run.err.contains("--password-stdin"), "{}", run.err);
}

#[test]
fn an_old_session_is_renewed_before_it_is_used() {
    let world = World::signed_out();
    world.sign_in(OLD_TOKEN, Duration::seconds(20));
    assert_eq!(world.run(&["scans"]).code, 0);
    let sent = world.api.requests_of("GET /v1/scans");
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].headers["authorization"], format!("Bearer {NEW_TOKEN}"));
    let config = fs::read_to_string(world.config()).unwrap();
    assert!(config.contains(NEW_TOKEN) && config.contains(REFRESH) && !config.contains(OLD_TOKEN), "{config}");
    // What was renewed is remembered: the pool is not asked again.
    assert_eq!(world.run(&["scans"]).code, 0);
    assert_eq!(world.api.requests_of("POST /").len(), 1);
}

#[test]
fn a_refused_token_is_renewed_once() {
    let world = World::new();
    world.script(|script| script.tokens = vec![NEW_TOKEN]);
    assert_eq!(world.run(&["scans"]).code, 0);
    world.script(|script| script.tokens = vec![]);
    let run = world.run(&["scans"]);
    assert_eq!(run.code, 3);
    assert!(run.err.contains("the server refuses your session; run `dunlin login`"), "{}", run.err);
}

#[test]
fn a_session_that_cannot_be_renewed_is_over() {
    let world = World::signed_out();
    world.sign_in(OLD_TOKEN, Duration::seconds(-5));
    world.script(|script| {
        script.pool = |_| {
            Answer::typed(
                400,
                "application/json",
                r#"{"__type":"NotAuthorizedException","message":"Refresh Token has expired"}"#,
            )
        };
    });
    let run = world.run(&["scans"]);
    assert_eq!(run.code, 3);
    assert!(run.err.contains("your session has ended; run `dunlin login`"), "{}", run.err);
}

#[test]
fn signing_out_revokes_and_forgets() {
    let world = World::new();
    let run = world.run(&["logout"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let revoked = &world.api.requests_of("POST /")[0];
    assert_eq!(revoked.headers["x-amz-target"], "AWSCognitoIdentityProviderService.RevokeToken");
    assert_eq!(revoked.json()["Token"], REFRESH);
    let config = fs::read_to_string(world.config()).unwrap();
    assert!(!config.contains(OLD_TOKEN) && !config.contains(REFRESH), "{config}");

    let run = world.run(&["scans"]);
    assert_eq!(run.code, 3);
    assert!(run.err.contains("you are not signed in"), "{}", run.err);
}
