//! What a scan saw becomes what is known: matching, closing, reopening, and who decides.

mod common;

use common::{Run, World};
use dunlin_contracts::steps::Summary;
use dunlin_core::{job::JobOutcome::*, scan::ScanState, selection::Shard};
use dunlin_store::{Aggregation, Commit, Prepared};
use dunlin_testkit::fixtures::finding;

#[tokio::test]
async fn the_first_scan_opens_everything() {
    let mut world = World::new().await;
    let summary = world
        .scan(
            1,
            Run::of("ruff")
                .found([finding("ruff", "S1", "a.py", 3, "eval(x)"), finding("ruff", "S2", "b.py", 9, "exec(y)")]),
        )
        .await;
    assert_eq!((summary.findings, summary.new, summary.fixed), (2, 2, 0));
    assert_eq!(world.states().await, ["a.py:3 open new", "b.py:9 open new"]);
}

#[tokio::test]
async fn findings_of_advisory_engines_are_counted_and_enforce_nothing() {
    let mut world = World::new().await;
    let bad = finding("ruff", "S1", "a.py", 10, "x");
    let taste = [finding("foxguard", "F1", "a.py", 10, "x"), finding("foxguard", "F2", "a.py", 20, "y")];
    let severity = bad.severity;
    let run = Run::of("ruff").found([bad]).and(Run::of("foxguard").found(taste).advisory());
    let summary = world.scan(1, run).await;
    assert_eq!((summary.findings, &summary.by_severity), (3, &[(severity, 3)].into()));
    assert_eq!(summary.enforced_by_severity, [(severity, 1)].into());

    // What V5 makes of a scan that ended before there were such counts.
    let client = world.db.client().await;
    let strip = "update scans set summary = summary - 'enforced_by_severity'";
    client.execute(strip, &[]).await.unwrap();
    client.batch_execute(include_str!("../migrations/V5__enforced.sql")).await.unwrap();
    let row = client.query_one("select summary from scans", &[]).await.unwrap();
    let again: Summary = serde_json::from_value(row.get(0)).unwrap();
    assert_eq!(again, summary);
}

#[tokio::test]
async fn a_moved_line_is_the_same_finding_and_a_gone_one_is_fixed() {
    let mut world = World::new().await;
    world
        .scan(1, Run::of("ruff").found([finding("ruff", "S1", "a.py", 3, "x"), finding("ruff", "S1", "a.py", 5, "y")]))
        .await;
    let before = world.ids().await;
    let summary = world.scan(2, Run::of("ruff").found([finding("ruff", "S1", "a.py", 30, "x")])).await;
    assert_eq!((summary.findings, summary.new, summary.fixed), (1, 0, 1));
    assert_eq!(world.ids().await, before[..1]);
    assert_eq!(world.all_states().await, ["fixed", "open"]);
    // It comes back: the same finding again.
    let summary = world
        .scan(
            3,
            Run::of("ruff").found([finding("ruff", "S1", "a.py", 30, "x"), finding("ruff", "S1", "a.py", 50, "y")]),
        )
        .await;
    assert_eq!((summary.new, summary.fixed), (0, 0));
    assert_eq!(world.ids().await, before);
    assert_eq!(world.all_states().await, ["open", "reopened"]);
    assert_eq!(world.events().await, ["fixed 1", "opened 2", "reopened 1"]);
}

#[tokio::test]
async fn a_renamed_file_keeps_its_findings_and_two_candidates_stay_apart() {
    let mut world = World::new().await;
    world
        .scan(
            1,
            Run::of("ruff").found([finding("ruff", "S1", "old.py", 3, "x"), finding("ruff", "S1", "two.py", 4, "y")]),
        )
        .await;
    let before = world.ids().await;
    let summary = world
        .scan(
            2,
            Run::of("ruff").found([
                finding("ruff", "S1", "new.py", 3, "x"),
                // The code of two.py is in two places now: nobody can say which one it is.
                finding("ruff", "S1", "p.py", 4, "y"),
                finding("ruff", "S1", "q.py", 4, "y"),
            ]),
        )
        .await;
    assert_eq!((summary.findings, summary.new, summary.fixed), (3, 2, 1));
    let after = world.ids().await;
    assert_eq!(after[0], before[0], "the renamed finding lost its identity");
    assert!(!after[1..].contains(&before[1]));
    // The new place is the place now: the next scan finds it by its fingerprint.
    let summary = world.scan(3, Run::of("ruff").found([finding("ruff", "S1", "new.py", 8, "x")])).await;
    assert_eq!((summary.new, summary.fixed), (0, 2));
}

#[tokio::test]
async fn the_same_code_twice_in_a_file_is_two_findings() {
    let mut world = World::new().await;
    let twice = [finding("ruff", "S1", "a.py", 3, "x"), finding("ruff", "S1", "a.py", 9, "x")];
    let summary = world.scan(1, Run::of("ruff").found(twice.clone())).await;
    assert_eq!((summary.findings, summary.new), (2, 2));
    let summary = world.scan(2, Run::of("ruff").found(twice[..1].to_vec())).await;
    assert_eq!((summary.findings, summary.new, summary.fixed), (1, 0, 1));
}

#[tokio::test]
async fn an_engine_that_did_not_see_everything_closes_nothing() {
    for outcome in [PartlyAssessed, Failed, TimedOut, OutOfMemory, NotRun] {
        let mut world = World::new().await;
        world.scan(1, Run::of("ruff").found([finding("ruff", "S1", "a.py", 3, "x")])).await;
        let run = Run::of("ruff").outcome(outcome).and(Run::of("zizmor"));
        let summary = world.scan(2, run).await;
        assert_eq!((summary.fixed, summary.jobs, summary.jobs_incomplete), (0, 2, 1), "{outcome:?}");
        assert_eq!(world.all_states().await, ["open"], "{outcome:?}");
    }
}

#[tokio::test]
async fn a_missing_shard_closes_nothing_even_of_the_shards_that_finished() {
    let mut world = World::new().await;
    let shard = |index| Shard { index, count: 2 };
    let both = [finding("ruff", "S1", "a.py", 3, "x"), finding("ruff", "S1", "b.py", 3, "y")];
    world
        .scan(
            1,
            Run::of("ruff")
                .shard(shard(0))
                .found(both[..1].to_vec())
                .and(Run::of("ruff").shard(shard(1)).found(both[1..].to_vec())),
        )
        .await;
    world.scan(2, Run::of("ruff").shard(shard(0)).and(Run::of("ruff").shard(shard(1)).outcome(TimedOut))).await;
    assert_eq!(world.all_states().await, ["open", "open"]);
    // A plan that misses a shard altogether is no better.
    world.scan(3, Run::of("ruff").shard(shard(0))).await;
    assert_eq!(world.all_states().await, ["open", "open"]);
    world.scan(4, Run::of("ruff").shard(shard(0)).and(Run::of("ruff").shard(shard(1)))).await;
    assert_eq!(world.all_states().await, ["fixed", "fixed"]);
}

#[tokio::test]
async fn an_engine_that_was_not_planned_closes_nothing() {
    let mut world = World::new().await;
    world.scan(1, Run::of("ruff").found([finding("ruff", "S1", "a.py", 3, "x")])).await;
    world.scan(2, Run::of("zizmor")).await;
    assert_eq!(world.all_states().await, ["open"]);
}

#[tokio::test]
async fn an_engine_with_nothing_left_to_read_closes_what_it_had_found() {
    let mut world = World::new().await;
    let (script, flow) = (finding("ruff", "S1", "a.py", 3, "x"), finding("zizmor", "unpinned", "ci.yml", 3, "y"));
    let both = Run::of("ruff").found([script.clone()]).and(Run::of("zizmor").found([flow.clone()]));
    world.scan(1, both.clone()).await;
    let summary = world.scan(2, Run::of("ruff").found([script]).nothing_to_read_for("zizmor")).await;
    assert_eq!((summary.findings, summary.fixed, summary.jobs, summary.jobs_incomplete), (1, 1, 1, 0));
    assert_eq!((world.state_of("a.py").await, world.state_of("ci.yml").await), ("open".into(), "fixed".into()));
    // The file is there again, and so is the finding.
    assert_eq!(world.scan(3, both).await.new, 0);
    assert_eq!(world.state_of("ci.yml").await, "reopened");
}

#[tokio::test]
async fn a_newer_commit_without_its_files_has_closed_what_an_older_one_brings() {
    let mut world = World::new().await;
    let late = || Run::of("ruff").found([finding("ruff", "S1", "a.py", 3, "x")]);
    world.scan(10, Run::of("zizmor").nothing_to_read_for("ruff")).await;
    let summary = world.scan(5, late()).await;
    assert_eq!((summary.new, summary.fixed), (1, 0));
    assert_eq!(world.all_states().await, ["fixed"]);
}

#[tokio::test]
async fn an_engine_that_has_a_job_is_judged_by_it_alone() {
    let mut world = World::new().await;
    world.scan(1, Run::of("ruff").found([finding("ruff", "S1", "a.py", 3, "x")])).await;
    world.scan(2, Run::of("ruff").outcome(Failed).nothing_to_read_for("ruff")).await;
    assert_eq!(world.all_states().await, ["open"]);
}

#[tokio::test]
async fn the_newest_commit_decides_and_not_the_newest_arrival() {
    let mut world = World::new().await;
    let (kept, gone) = (finding("ruff", "S1", "a.py", 3, "x"), finding("ruff", "S1", "b.py", 3, "y"));
    world.scan(10, Run::of("ruff").found([kept.clone()])).await;
    // An older commit arrives late: it has seen `gone`, which the newer one no longer has, and has not seen `kept`.
    let summary = world.scan(5, Run::of("ruff").found([gone.clone()])).await;
    assert_eq!((summary.findings, summary.new, summary.fixed), (1, 1, 0));
    assert_eq!(world.state_of("a.py").await, "open");
    assert_eq!(world.state_of("b.py").await, "fixed");
    assert!(!world.decided().await);
    // The newer commit is still the one to go by.
    world.scan(11, Run::of("ruff").found([kept, gone])).await;
    assert_eq!(world.state_of("b.py").await, "reopened");
    assert!(world.decided().await);
}

#[tokio::test]
async fn what_only_an_older_commit_was_asked_about_is_open() {
    let mut world = World::new().await;
    world.scan(10, Run::of("zizmor")).await;
    world.scan(5, Run::of("ruff").found([finding("ruff", "S1", "a.py", 3, "x")])).await;
    assert_eq!(world.all_states().await, ["open"]);
}

#[tokio::test]
async fn a_later_scan_without_an_engine_leaves_its_findings_to_the_older_one() {
    let mut world = World::new().await;
    let (secret, other) = (finding("gitleaks", "key", "a.env", 3, "x"), finding("gitleaks", "key", "b.env", 3, "y"));
    world.scan(1, Run::of("gitleaks").found([secret.clone(), other])).await;
    world.scan(2, Run::of("gitleaks").found([finding("gitleaks", "key", "b.env", 3, "y")])).await;
    assert_eq!((world.state_of("a.env").await, world.state_of("b.env").await), ("fixed".into(), "open".into()));
    // Later looks end first: one ran another engine, in the other this engine crashed.
    world.scan(10, Run::of("ruff").found([finding("ruff", "S1", "a.py", 3, "x")])).await;
    world.scan(11, Run::of("gitleaks").outcome(Failed)).await;
    let summary = world.scan(5, Run::of("gitleaks").found([secret]).and(Run::of("ruff"))).await;
    assert_eq!((summary.new, summary.fixed), (0, 1));
    assert_eq!((world.state_of("a.env").await, world.state_of("b.env").await), ("reopened".into(), "fixed".into()));
    assert_eq!(world.state_of("a.py").await, "open", "ruff has looked later");
    assert!(!world.decided().await);
}

#[tokio::test]
async fn every_later_look_is_asked_and_not_only_the_last() {
    let mut world = World::new().await;
    world.scan(10, Run::of("ruff")).await;
    world.scan(11, Run::of("zizmor")).await;
    world.scan(5, Run::of("ruff").found([finding("ruff", "S1", "a.py", 3, "x")])).await;
    assert_eq!(world.all_states().await, ["fixed"]);
}

#[tokio::test]
async fn a_later_look_that_was_not_everywhere_keeps_what_it_saw_and_closes_nothing() {
    let mut world = World::new().await;
    let (seen, not_reached) = (finding("eslint", "S1", "a.js", 3, "x"), finding("eslint", "S1", "b.js", 3, "y"));
    world.scan(1, Run::of("eslint").found([seen.clone(), not_reached.clone()])).await;
    world.scan(2, Run::of("eslint")).await;
    assert_eq!(world.all_states().await, ["fixed", "fixed"]);
    world.scan(10, Run::of("eslint").outcome(PartlyAssessed).found([seen])).await;
    world.scan(5, Run::of("eslint").found([not_reached])).await;
    assert_eq!((world.state_of("a.js").await, world.state_of("b.js").await), ("reopened".into(), "reopened".into()));
}

#[tokio::test]
async fn what_was_found_in_a_file_that_is_left_out_now_is_not_fixed() {
    let mut world = World::new().await;
    let (grown, mended) = (finding("ruff", "S1", "grown.py", 3, "x"), finding("ruff", "S1", "mended.py", 3, "y"));
    world.scan(1, Run::of("ruff").found([grown.clone(), mended])).await;
    assert_eq!(world.scan(2, Run::of("ruff").unread("grown.py")).await.fixed, 1);
    assert_eq!((world.state_of("grown.py").await, world.state_of("mended.py").await), ("open".into(), "fixed".into()));
    // Nothing else is left for the engine.
    assert_eq!(world.scan(3, Run::of("zizmor").nothing_to_read_for("ruff").unread("grown.py")).await.fixed, 0);
    assert_eq!(world.state_of("grown.py").await, "open");
    // Read again, it counts again.
    assert_eq!(world.scan(4, Run::of("ruff")).await.fixed, 1);
}

#[tokio::test]
async fn decisions_of_people_outlive_scans() {
    let mut world = World::new().await;
    let all: Vec<_> = ["a", "b", "c", "d"].iter().map(|f| finding("ruff", "S1", &format!("{f}.py"), 3, f)).collect();
    world.scan(1, Run::of("ruff").found(all.clone())).await;
    world.decide("a.py", "false_positive", "null").await;
    world.decide("b.py", "accepted", "now() + interval '1 day'").await;
    world.decide("c.py", "accepted", "now() - interval '1 minute'").await;
    world.decide("d.py", "accepted", "null").await;
    world.scan(2, Run::of("ruff").found(all.clone())).await;
    let states = ["false_positive", "accepted", "reopened", "accepted"];
    for (path, state) in ["a.py", "b.py", "c.py", "d.py"].iter().zip(states) {
        assert_eq!(world.state_of(path).await, state, "{path}");
    }
    // Gone and back again: still decided.
    world.scan(3, Run::of("ruff")).await;
    assert_eq!(world.state_of("a.py").await, "false_positive");
    world.scan(4, Run::of("ruff").found(all)).await;
    assert_eq!(world.state_of("a.py").await, "false_positive");
    assert_eq!(world.deciders().await, ["a.py person", "b.py person", "c.py person", "d.py person"]);
}

#[tokio::test]
async fn aggregating_twice_changes_nothing_and_tells_the_same() {
    let mut world = World::new().await;
    let run = Run::of("ruff").found([finding("ruff", "S1", "a.py", 3, "x")]).and(Run::of("zizmor").outcome(Failed));
    let first = world.scan(1, run.clone()).await;
    let before = world.db.dump().await;
    let (input, mut store) = (world.input(1, &run), world.db.store().await);
    common::load(&mut store, &run).await;
    let aggregation = Aggregation { scan: &input.0, snapshot: &input.1, plan: &input.2, jobs: &input.3 };
    assert!(matches!(store.aggregate(aggregation).await.unwrap(), Prepared::Ended(ScanState::Partial)));
    let ended = store.ended(&input.0).await.unwrap().unwrap();
    assert_eq!((ended.state, ended.summary.as_ref()), (ScanState::Partial, Some(&first)));
    assert_eq!(ended.rules().await.unwrap().len(), 1);
    assert_eq!(world.db.dump().await, before);
}

#[tokio::test]
async fn a_cancellation_during_the_aggregation_keeps_nothing_of_it() {
    let world = World::new().await;
    let run = Run::of("ruff").found([finding("ruff", "S1", "a.py", 3, "x")]);
    let (input, mut store) = (world.input(1, &run), world.db.store().await);
    store.register_scan(&input.0, false).await.unwrap();
    common::load(&mut store, &run).await;
    let aggregation = Aggregation { scan: &input.0, snapshot: &input.1, plan: &input.2, jobs: &input.3 };
    let Prepared::Ready(aggregated) = store.aggregate(aggregation).await.unwrap() else { panic!("nothing had ended") };
    let mut other = world.db.store().await;
    other.end_scan(&input.0, ScanState::Cancelled, None).await.unwrap();
    let commit = aggregated.commit(ScanState::Complete, None).await.unwrap();
    assert_eq!(commit, Commit::EndedAs(ScanState::Cancelled));
    let view = other.scan(&input.0.tenant, input.0.scan_id).await.unwrap().unwrap();
    assert_eq!((view.status.as_str(), view.summary), ("cancelled", None));
    assert!(world.all_states().await.is_empty());
}

#[tokio::test]
async fn two_scans_of_one_track_at_once_come_out_as_one_after_the_other() {
    let world = World::new().await;
    let runs: Vec<Run> = (0..4)
        .map(|n| {
            Run::of("ruff").found([
                finding("ruff", "S1", "a.py", 3, "same"),
                finding("ruff", "S1", "b.py", 3, &format!("only {n}")),
            ])
        })
        .collect();
    let work = runs.iter().enumerate().map(|(n, run)| {
        let world = &world;
        async move {
            let (input, mut store) = (world.input(n as i64 + 1, run), world.db.store().await);
            common::load(&mut store, run).await;
            let aggregation = Aggregation { scan: &input.0, snapshot: &input.1, plan: &input.2, jobs: &input.3 };
            let Prepared::Ready(ready) = store.aggregate(aggregation).await.unwrap() else {
                panic!("nothing had ended")
            };
            assert_eq!(ready.commit(ScanState::Complete, None).await.unwrap(), Commit::Done);
        }
    });
    futures::future::join_all(work).await;
    // "same" is one finding, and only the newest commit's own is open, whatever order they came in.
    let states = world.all_states().await;
    assert_eq!(states.iter().filter(|s| *s == "open" || *s == "reopened").count(), 2, "{states:?}");
    assert_eq!(states.len(), 5);
}

#[tokio::test]
async fn text_that_postgres_cannot_hold_does_not_lose_the_scan() {
    let mut world = World::new().await;
    let mut odd = finding("ruff", "S1", &format!("{}.py", "深".repeat(1500)), 3, "x");
    odd.message = "zero \0 inside".into();
    odd.location.start_line = None;
    let summary = world.scan(1, Run::of("ruff").found([odd])).await;
    assert_eq!(summary.findings, 1);
}
