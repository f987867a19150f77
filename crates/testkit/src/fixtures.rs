//! Values for tests. Each has sensible contents; change the fields that a test is about.

#![expect(clippy::expect_used, reason = "for tests only")]

use dunlin_contracts::{
    VERSION,
    api::{ScanRequest, Target},
    plan::{Plan, PlannedJob},
    steps::{ScanMessage, SnapshotRef},
};
use dunlin_core::{
    RepositoryId, ResultKey, ScanId, TenantId,
    finding::{Confidence, Finding, Location, Rule, Severity},
    job::{Compute, JobOutcome, Size},
    keys,
    manifest::{ResultLine, ResultManifest},
    selection::{Selection, Shard},
};
use time::{Duration, OffsetDateTime};

/// 2026-01-01T00:00:00Z.
pub const EPOCH: OffsetDateTime = time::macros::datetime!(2026-01-01 0:00 UTC);

pub fn tenant(name: &str) -> TenantId {
    name.parse().expect("a tenant's name")
}

/// A scan of `github.com/example/app`, accepted `minute` minutes after [`EPOCH`]; the same minute is the same scan.
pub fn scan(tenant_name: &str, minute: i64) -> ScanMessage {
    let tenant = tenant(tenant_name);
    let repository = "github.com/example/app".to_owned();
    ScanMessage {
        version: VERSION,
        scan_id: ScanId::derived(&tenant, &format!("minute {minute}")),
        repository_id: RepositoryId::derived(&tenant, &repository),
        tenant,
        repository,
        request: ScanRequest {
            target: Target::Git {
                url: "https://github.com/example/app".to_owned(),
                branch: Some("main".to_owned()),
                tag: None,
                commit: None,
                credential: None,
            },
            engines: None,
        },
        requested_by: "user-1".to_owned(),
        accepted_at: EPOCH + Duration::minutes(minute),
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
    }
}

/// The snapshot of `scan` at a commit made `minute` minutes after [`EPOCH`], on branch `main`.
pub fn snapshot(scan: &ScanMessage, minute: i64) -> SnapshotRef {
    let revision = format!("{minute:040x}");
    SnapshotRef {
        prefix: keys::snapshot_prefix(&scan.tenant, scan.repository_id, &revision),
        revision,
        track: "main".to_owned(),
        // A commit that was rebased: its date says nothing.
        committed_at: EPOCH - Duration::minutes(minute),
        resolved_at: EPOCH + Duration::minutes(minute),
        files: 10,
        bytes: 1000,
        reused: false,
    }
}

/// One whole job for each engine, in this order.
pub fn plan(scan: &ScanMessage, snapshot: &SnapshotRef, engines: &[&str]) -> Plan {
    let jobs = engines.iter().enumerate().map(|(n, engine)| job(scan, n as u32, engine, Shard::WHOLE)).collect();
    Plan {
        version: VERSION,
        scan_id: scan.scan_id,
        tenant: scan.tenant.clone(),
        repository_id: scan.repository_id,
        revision: snapshot.revision.clone(),
        jobs,
        nothing_to_read: Vec::new(),
        unread: Vec::new(),
        unread_more: false,
        warnings: Vec::new(),
        fail_on: None,
    }
}

pub fn job(scan: &ScanMessage, number: u32, engine: &str, shard: Shard) -> PlannedJob {
    let id = scan.scan_id.to_string();
    PlannedJob {
        job: number,
        engine: engine.to_owned(),
        engine_version: "1.0.0".to_owned(),
        advisory: false,
        selection: Selection { include: vec!["**".to_owned()], exclude: Vec::new(), shard },
        files: 10,
        bytes: 1000,
        input_digest: "00".repeat(32),
        result_key: ResultKey::of_parts([id.as_bytes(), engine.as_bytes(), &number.to_be_bytes()]),
        cached: false,
        compute: Compute::Lambda,
        size: Size::Small,
        timeout_seconds: 300,
    }
}

pub fn rule(engine: &str, name: &str) -> Rule {
    Rule {
        id: format!("{engine}/{name}"),
        engine: engine.to_owned(),
        name: name.to_owned(),
        description: Some(format!("what {name} is about")),
        help_url: Some(format!("https://example.com/{name}")),
        cwe: vec![79],
        severity: Severity::High,
        confidence: Confidence::Medium,
    }
}

/// `code` stands for the code at the place: it decides the fingerprint together with rule and path.
pub fn finding(engine: &str, rule: &str, path: &str, line: u32, code: &str) -> Finding {
    Finding {
        rule: format!("{engine}/{rule}"),
        severity: Severity::High,
        confidence: Confidence::Medium,
        location: Location {
            path: path.to_owned(),
            start_line: Some(line),
            start_column: Some(1),
            end_line: Some(line),
        },
        message: format!("{rule} in {path}"),
        snippet: Some(code.to_owned()),
        fingerprint: digest(&[engine, rule, path, code]),
        content_key: digest(&[engine, rule, code]),
    }
}

fn digest(parts: &[&str]) -> String {
    ResultKey::of_parts(parts.iter().map(|part| part.as_bytes())).as_str().to_owned()
}

/// What a runner stores for `job`: manifest, rules and findings.
pub fn result_lines(job: &PlannedJob, outcome: JobOutcome, findings: &[Finding]) -> Vec<ResultLine> {
    let mut rules: Vec<&str> = findings.iter().map(|finding| finding.rule.as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    let manifest = ResultManifest {
        version: VERSION,
        result_key: job.result_key.clone(),
        engine: job.engine.clone(),
        engine_version: job.engine_version.clone(),
        outcome,
        note: (outcome == JobOutcome::PartlyAssessed).then(|| "2 files could not be parsed".to_owned()),
        files: job.files,
        findings: findings.len() as u64,
        exit_code: 0,
        duration_ms: 1500,
        peak_memory_bytes: 50_000_000,
        report_sha256: "11".repeat(32),
        report_bytes: 100,
        finished_at: EPOCH,
    };
    let rules = rules.into_iter().map(|id| {
        let name = id.split_once('/').map_or(id, |(_, name)| name);
        ResultLine::Rule(rule(&job.engine, name))
    });
    let findings = findings.iter().cloned().map(ResultLine::Finding);
    std::iter::once(ResultLine::Manifest(manifest)).chain(rules).chain(findings).collect()
}
