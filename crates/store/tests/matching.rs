//! The matching in SQL against the rules in `dunlin_core::matching`, on findings made up at random.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Run, World};
use dunlin_core::{
    FindingId,
    finding::Finding,
    matching::{Known, Seen, match_findings},
};
use dunlin_testkit::fixtures;
use std::collections::{BTreeMap, BTreeSet};

/// The next of a row of numbers that is the same in every run (Knuth's MMIX generator).
fn next(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

/// Few rules, files and lines of code, so that much is the same and much has moved.
fn findings(random: &mut u64) -> Vec<Finding> {
    let places: BTreeSet<(u64, u64, u64)> =
        (0..12).map(|_| (next(random, 2), next(random, 4), next(random, 4))).collect();
    let make = |(rule, path, code): (u64, u64, u64)| {
        let line = 1 + rule as u32 * 10 + code as u32;
        fixtures::finding("ruff", &format!("R{rule}"), &format!("src/{path}.py"), line, &format!("some code {code}"))
    };
    places.into_iter().map(make).collect()
}

/// Fingerprint -> the finding's id.
async fn ids(world: &World, minute: i64) -> BTreeMap<String, FindingId> {
    let scan = fixtures::scan("acme", minute).scan_id.as_uuid();
    let rows = world.db.client().await;
    let rows =
        rows.query("select fingerprint, finding_id from scan_findings where scan_id = $1", &[&scan]).await.unwrap();
    rows.iter().map(|row| (row.get(0), FindingId::from_uuid(row.get(1)))).collect()
}

#[tokio::test]
async fn sql_matches_as_the_rules_say() {
    let mut random = 3;
    let (mut same, mut moved, mut new, mut gone) = (0, 0, 0, 0);
    for round in 0..8 {
        let mut world = World::new().await;
        let (before, after) = (findings(&mut random), findings(&mut random));
        world.scan(1, Run::of("ruff").found(before.clone())).await;
        let known_ids = ids(&world, 1).await;
        world.scan(2, Run::of("ruff").found(after.clone())).await;
        let found_ids = ids(&world, 2).await;

        let known: Vec<Known> = before
            .iter()
            .map(|f| Known {
                id: known_ids[&f.fingerprint],
                fingerprint: f.fingerprint.clone(),
                content_key: f.content_key.clone(),
                path: f.location.path.clone(),
            })
            .collect();
        let seen: Vec<Seen> = after
            .iter()
            .map(|f| Seen {
                fingerprint: f.fingerprint.clone(),
                content_key: f.content_key.clone(),
                path: f.location.path.clone(),
            })
            .collect();
        let expected = match_findings(&known, &seen);
        let all: BTreeSet<FindingId> = known_ids.values().copied().collect();
        for (finding, matched) in after.iter().zip(&expected.matched) {
            let found = found_ids[&finding.fingerprint];
            let place = format!("round {round}: {} at {}", finding.rule, finding.location.path);
            match matched {
                Some(id) => assert_eq!(found, *id, "{place} is a known one"),
                None => assert!(!all.contains(&found), "{place} is new"),
            }
            match matched {
                Some(_) if known_ids.contains_key(&finding.fingerprint) => same += 1,
                Some(_) => moved += 1,
                None => new += 1,
            }
        }
        let client = world.db.client().await;
        let rows = client.query("select id from findings where state = 'fixed'", &[]).await.unwrap();
        let fixed: BTreeSet<FindingId> = rows.iter().map(|row| FindingId::from_uuid(row.get(0))).collect();
        assert_eq!(fixed, expected.gone.iter().copied().collect(), "round {round}: what is gone");
        gone += fixed.len();
    }
    assert!(same > 5 && moved > 5 && new > 5 && gone > 5, "{same} {moved} {new} {gone}: the findings try too little");
}
