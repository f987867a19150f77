//! Types of the HTTP API.

use crate::steps::Summary;
use dunlin_core::finding::{Confidence, Severity};
use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// Body of `POST /v1/scans`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScanRequest {
    pub target: Target,
    /// Only these engines. Without it, every engine that has something to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 50)]
    pub engines: Option<Vec<String>>,
}

/// What is scanned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// A repository that is fetched over HTTPS.
    Git {
        /// `https://host/path`, without credentials, query or fragment; a host in its ASCII form.
        #[schema(
            format = "uri",
            max_length = 2000,
            pattern = r"^https?://[A-Za-z0-9._~\[!$&'()*+,;=%-][A-Za-z0-9._~:/\[\]@!$&'()*+,;=%-]*$"
        )]
        url: String,
        /// At most one of branch, tag and commit; none means the default branch. A name that `git check-ref-format` allows and
        /// that does not begin with a dash.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(min_length = 1, max_length = 255, pattern = r"^[^\u0000-\u0020\u007f-\u009f~^:?*\[\\]+$")]
        branch: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(min_length = 1, max_length = 255, pattern = r"^[^\u0000-\u0020\u007f-\u009f~^:?*\[\\]+$")]
        tag: Option<String>,
        /// 40 or 64 lower-case hexadecimal digits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(pattern = "^([0-9a-f]{40}|[0-9a-f]{64})$")]
        commit: Option<String>,
        /// Name of a stored credential (`PUT /v1/credentials/{name}`) for a private repository.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(pattern = "^[a-z0-9_-]{1,64}$")]
        credential: Option<String>,
    },
    /// An archive that was sent to the URL that `POST /v1/uploads` gave.
    Upload {
        upload_id: Uuid,
        /// What to call the repository: scans with the same name belong together. No control characters, not only blanks.
        #[schema(min_length = 1, max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
        repository: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(min_length = 1, max_length = 255, pattern = r"^[^\u0000-\u0020\u007f-\u009f~^:?*\[\\]+$")]
        branch: Option<String>,
        /// The commit the working tree is based on, for people to read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(pattern = "^([0-9a-f]{40}|[0-9a-f]{64})$")]
        commit: Option<String>,
    },
}

/// Answer of `POST /v1/scans` and `DELETE /v1/scans/{id}` (202).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScanAccepted {
    pub id: Uuid,
    pub repository_id: Uuid,
    /// `accepted`; after a DELETE, `cancelling`.
    pub status: String,
    pub trace_id: String,
}

/// Body of `POST /v1/uploads`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UploadRequest {
    /// Size of the archive (`tar`, `tar.gz` or `tar.zst`); at most 1 GiB.
    #[serde(deserialize_with = "whole_number")]
    #[schema(minimum = 1, maximum = 1073741824)]
    pub bytes: u64,
    /// SHA-256 of the archive, hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub sha256: String,
}

/// JSON does not tell 5 from 5.0 or 5e0, and some clients write the latter.
pub(crate) fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    /// Up to here a float counts in ones.
    const EXACT: f64 = (1_u64 << 53) as f64;
    let number = serde_json::Number::deserialize(deserializer)?;
    let whole = |float: &f64| float.fract() == 0.0 && (0.0..=EXACT).contains(float);
    number
        .as_u64()
        .or_else(|| number.as_f64().filter(whole).map(|float| float as u64))
        .ok_or_else(|| serde::de::Error::custom(format!("{number} is not a whole number of bytes")))
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UploadTarget {
    pub upload_id: Uuid,
    /// PUT the archive here, with exactly these headers, before `expires_at`.
    pub url: String,
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub headers: std::collections::BTreeMap<String, String>,
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

/// Body of `PUT /v1/credentials/{name}`. Stored as a secret; never given back.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialPut {
    /// The one host that ever sees the token, in lower case; with its port where that is not 443.
    #[schema(
        max_length = 259,
        pattern = "^(([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])*[a-z]([a-z0-9-]{0,61}[a-z0-9])?|((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9]))(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?$"
    )]
    pub host: String,
    /// User name for HTTP basic authentication, without colon; `x-access-token` suits GitHub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^:\u0000-\u001f\u007f-\u009f]+$")]
    pub username: Option<String>,
    #[schema(min_length = 1, max_length = 4096, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    pub token: String,
}

/// Body of `PUT /v1/webhook`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookPut {
    /// `https://...`; told about every scan and every price batch of the organisation that ends.
    #[schema(
        format = "uri",
        max_length = 2000,
        pattern = r"^https?://[A-Za-z0-9._~\[!$&'()*+,;=%-][A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*$"
    )]
    pub url: String,
}

/// Answer of `PUT /v1/webhook`: the only time that the key is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookCreated {
    /// `whsec_` and 32 bytes in base64, as in the Standard Webhooks specification.
    pub signing_key: String,
}

/// `GET /v1/scans/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScanView {
    pub id: Uuid,
    pub repository_id: Uuid,
    pub repository: String,
    /// `accepted`, `running`, `complete`, `partial`, `failed` or `cancelled`.
    pub status: String,
    /// Why the scan is `partial` or `failed`, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The line of history: a branch, `tag:<name>`, a commit, or `upload:<branch>`. Findings live on their track.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    pub requested_by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub accepted_at: OffsetDateTime,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub started_at: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<OffsetDateTime>,
    /// Set when the scan has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// `fail_on` of the repository's `.dunlin.toml`: the lowest severity that makes a check fail, when its owner names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub fail_on: Option<Severity>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Empty until the scan is planned; left out of lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<JobView>,
    pub trace_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    pub job: u32,
    pub engine: String,
    pub engine_version: String,
    /// What the engine finds is told, and never fails a threshold.
    pub advisory: bool,
    /// `queued`, `starting`, `running` or `ended`.
    pub state: String,
    /// `assessed`, `partly_assessed`, `failed`, `timed_out`, `out_of_memory` or `not_run`, once ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The result was known: nothing ran.
    pub cached: bool,
    /// `lambda` or `batch`.
    pub compute: String,
    pub attempt: u32,
    pub files: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// Why the job has no result, or left files out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub shard_index: u32,
    pub shard_count: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FindingView {
    pub id: Uuid,
    pub rule: String,
    pub rule_name: String,
    pub engine: String,
    #[schema(value_type = String)]
    pub severity: Severity,
    #[schema(value_type = String)]
    pub confidence: Confidence,
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_line: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_column: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_line: Option<u32>,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snippet: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help_url: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cwe: Vec<u32>,
    pub fingerprint: String,
    /// `open`, `fixed`, `reopened`, `false_positive`, `accepted` or `duplicate`.
    pub state: String,
    /// Seen for the first time by this scan.
    pub new: bool,
}

/// One page of a list. Ask again with `?cursor=` for what follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// `GET /v1/repositories/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RepositoryView {
    pub id: Uuid,
    pub name: String,
    #[serde(with = "time::serde::rfc3339")]
    pub first_scanned_at: OffsetDateTime,
    /// The ended scan of the newest commit; not the newest arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<ScanView>,
    pub open_findings: u64,
}

/// `GET /v1/health`. Needs no token and tells a client how to get one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`.
    pub status: String,
    pub version: String,
    pub auth: AuthDiscovery,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuthDiscovery {
    /// Where `InitiateAuth` of the user pool is called.
    pub endpoint: String,
    pub client_id: String,
    pub issuer: String,
}
