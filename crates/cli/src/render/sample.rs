//! Values for tests.

use dunlin_contracts::{
    api::{FindingView, JobView, ScanView},
    prices::PriceBatchView,
    steps::Summary,
};
use dunlin_core::{
    finding::{Confidence, Severity},
    prices::{BatchKind, BatchState},
};
use time::macros::datetime;
use uuid::Uuid;

pub fn scan_with(status: &str, by_severity: &[(Severity, u64)]) -> ScanView {
    let counts = by_severity.iter().copied().collect::<std::collections::BTreeMap<_, _>>();
    ScanView {
        id: Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0001),
        repository_id: Uuid::from_u128(2),
        repository: "github.com/acme/shop".into(),
        status: status.into(),
        reason: None,
        track: Some("main".into()),
        revision: Some("0123456789abcdef0123456789abcdef01234567".into()),
        requested_by: "ann".into(),
        accepted_at: datetime!(2026-11-20 10:00 UTC),
        started_at: Some(datetime!(2026-11-20 10:00:01 UTC)),
        ended_at: Some(datetime!(2026-11-20 10:00:13.4 UTC)),
        summary: Some(Summary {
            findings: counts.values().sum(),
            enforced_by_severity: counts.clone(),
            by_severity: counts,
            new: 2,
            fixed: 1,
            jobs: 3,
            jobs_cached: 0,
            jobs_incomplete: 0,
        }),
        fail_on: None,
        warnings: Vec::new(),
        jobs: Vec::new(),
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
    }
}

pub fn job(number: u32, engine: &str, state: &str) -> JobView {
    JobView {
        job: number,
        engine: engine.into(),
        engine_version: "1.0".into(),
        advisory: false,
        state: state.into(),
        outcome: None,
        cached: false,
        compute: "lambda".into(),
        attempt: 1,
        files: 10,
        findings: None,
        duration_ms: None,
        peak_memory_bytes: None,
        error: None,
        shard_index: 0,
        shard_count: 1,
    }
}

pub fn ended(number: u32, engine: &str, findings: u64) -> JobView {
    JobView {
        outcome: Some("assessed".into()),
        findings: Some(findings),
        duration_ms: Some(412),
        ..job(number, engine, "ended")
    }
}

pub fn finding(severity: Severity, path: &str, line: u32, rule: &str, message: &str) -> FindingView {
    FindingView {
        id: Uuid::from_u128(3),
        rule: rule.into(),
        rule_name: rule.into(),
        engine: rule.split('/').next().unwrap().into(),
        severity,
        confidence: Confidence::High,
        path: path.into(),
        start_line: Some(line),
        start_column: Some(5),
        end_line: None,
        message: message.into(),
        snippet: None,
        help_url: None,
        cwe: Vec::new(),
        fingerprint: "f".into(),
        state: "open".into(),
        new: false,
    }
}

pub fn batch(status: BatchState) -> PriceBatchView {
    let published = status == BatchState::Published;
    let day = |text: &str| text.parse().ok().filter(|_| published);
    PriceBatchView {
        id: Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0004),
        kind: BatchKind::Prices,
        status,
        name: Some("Q4".into()),
        sent_by: Some("ann".into()),
        key: None,
        bytes: Some(30_000),
        sha256: None,
        received_at: datetime!(2026-11-20 10:00 UTC),
        ended_at: status.is_end().then_some(datetime!(2026-11-20 10:00:03.4 UTC)),
        withdrawn_at: None,
        withdrawn_by: None,
        rows_read: 0,
        ranges: 0,
        ranges_read: 0,
        rows: published.then_some(1200),
        first_day: day("2026-01-01"),
        last_day: day("2026-01-31"),
        bad_rows: 0,
        reasons: Default::default(),
        first_bad_rows: Vec::new(),
        report_url: None,
        replaces: None,
        replaced_by: None,
        same_as: None,
        error: None,
    }
}
