//! Names of objects in the data bucket. Every key begins with its kind (lifecycle and permissions go by it) and its tenant.

use crate::{BatchId, RepositoryId, ResultKey, ScanId, TenantId, UploadId, prices::BatchKind};

/// What the caller asked for, written by intake before the message is sent. Ownership and idempotency rest on it.
pub fn accepted(tenant: &TenantId, scan: ScanId) -> String {
    format!("accepted/{tenant}/{scan}.json")
}

/// Present once somebody asked for the scan to be cancelled.
pub fn cancelled(tenant: &TenantId, scan: ScanId) -> String {
    format!("cancelled/{tenant}/{scan}.json")
}

/// How a scan ended that its state machine could not tell of, for `notifier`: a new object here is an event to it.
pub fn ended(tenant: &TenantId, scan: ScanId) -> String {
    format!("{ENDED}{tenant}/{scan}.json")
}

/// The same for a batch of prices.
pub fn price_batch_ended(tenant: &TenantId, batch: BatchId) -> String {
    format!("{ENDED}{tenant}/{batch}.json")
}

/// What every key of [`ended`] begins with.
pub const ENDED: &str = "ended/";

pub fn upload(tenant: &TenantId, upload: UploadId) -> String {
    format!("uploads/{tenant}/{upload}")
}

/// `revision` is a commit id, or the tree digest of an upload: hexadecimal either way.
pub fn snapshot_prefix(tenant: &TenantId, repository: RepositoryId, revision: &str) -> String {
    format!("snapshots/{tenant}/{repository}/{revision}")
}

/// For how long S3 keeps a snapshot, in days; Terraform's lifecycle rule says the same.
pub const SNAPSHOT_DAYS: i64 = 30;

/// Named by its content: of two that pack the same revision at the same moment, neither writes over the other's archive.
pub fn snapshot_archive(prefix: &str, sha256: &str) -> String {
    format!("{prefix}/{sha256}.tar.zst")
}

/// The list of files, one JSON object a line, compressed with zstd.
pub fn snapshot_files(prefix: &str) -> String {
    format!("{prefix}/files.ndjson.zst")
}

/// Written last: a snapshot without it does not exist.
pub fn snapshot_manifest(prefix: &str) -> String {
    format!("{prefix}/manifest.json")
}

pub fn plan(tenant: &TenantId, scan: ScanId) -> String {
    format!("plans/{tenant}/{scan}/plan.json")
}

/// The jobs of the repository's last plan, for estimates.
pub fn plan_history(tenant: &TenantId, repository: RepositoryId) -> String {
    format!("plans/{tenant}/history/{repository}.json")
}

/// What a runner needs for one job.
pub fn ticket(tenant: &TenantId, scan: ScanId, job: u32) -> String {
    format!("plans/{tenant}/{scan}/jobs/{job}.json")
}

/// How one job ended, when it ended without a result.
pub fn job_failure(tenant: &TenantId, scan: ScanId, job: u32) -> String {
    format!("plans/{tenant}/{scan}/jobs/{job}.failure.json")
}

/// A job's result: manifest line, rules, findings; written once, whoever comes first.
pub fn result(tenant: &TenantId, key: &ResultKey) -> String {
    format!("results/{tenant}/{key}/result.ndjson.zst")
}

/// The engine's own report, compressed with zstd, as evidence.
pub fn raw_report(tenant: &TenantId, key: &ResultKey) -> String {
    format!("results/{tenant}/{key}/report.zst")
}

/// `extension` is `sarif`, `json` or `csv`.
pub fn report(tenant: &TenantId, scan: ScanId, extension: &str) -> String {
    format!("reports/{tenant}/{scan}/report.{extension}")
}

/// What every file of a batch begins with: a new object here is an event. Behind it come tenant and kind.
pub const PRICE_BATCHES: &str = "price-batches/";

/// Where the file of a batch goes that was asked for with `POST /v1/price-batches`. A partner without the API puts files anywhere
/// else below `price-batches/<tenant>/<kind>/`.
pub fn price_batch_upload(tenant: &TenantId, kind: BatchKind, batch: BatchId) -> String {
    format!("{PRICE_BATCHES}{tenant}/{kind}/upload/{batch}")
}

/// What the caller of `POST /v1/price-batches` said of the batch.
pub fn price_batch_request(tenant: &TenantId, batch: BatchId) -> String {
    format!("price-requests/{tenant}/{batch}.json")
}

/// The bad rows of one range, as CSV lines without a header, ordered by line.
pub fn price_batch_faults(tenant: &TenantId, batch: BatchId, range: u32) -> String {
    format!("price-faults/{tenant}/{batch}/{range:06}.csv")
}

/// Every bad row of a rejected batch, as CSV.
pub fn price_batch_report(tenant: &TenantId, batch: BatchId) -> String {
    format!("reports/{tenant}/{batch}/bad-rows.csv")
}

/// Present once `channel` has told its receiver about the end of the batch.
pub fn price_batch_notification(tenant: &TenantId, batch: BatchId, channel: &str, event: &str) -> String {
    format!("notifications/{tenant}/{batch}/{channel}.{event}.json")
}

/// Present once `channel` has told its receiver about `event` of the scan.
pub fn notification(tenant: &TenantId, scan: ScanId, channel: &str, event: &str) -> String {
    format!("notifications/{tenant}/{scan}/{channel}.{event}.json")
}
