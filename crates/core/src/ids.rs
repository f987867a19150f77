//! Typed ids. Each parses at the edge and prints as people see it; none can be mistaken for another.

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};
use time::OffsetDateTime;
use uuid::Uuid;

/// Namespace of every id that is derived from a name (RFC 9562, version 5).
const NAMESPACE: Uuid = Uuid::from_u128(0x6c0f_5a0e_4f0b_5f6e_9d58_2f5e_7a3d_10d1);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("{kind} id is not a uuid: {given:?}")]
    NotUuid { kind: &'static str, given: String },
    #[error("tenant is not 1 to 40 lower-case letters, digits or dashes: {given:?}")]
    Tenant { given: String },
    #[error("result key is not 64 lower-case hexadecimal digits: {given:?}")]
    ResultKey { given: String },
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            pub const fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(s: &str) -> Result<Self, IdError> {
                // Only the hyphenated form: an id is also a key and an execution name, so it has one spelling.
                match Uuid::try_parse(s) {
                    Ok(id) if s.len() == 36 && id.to_string() == s => Ok(Self(id)),
                    _ => Err(IdError::NotUuid { kind: $kind, given: s.chars().take(60).collect() }),
                }
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

uuid_id!(
    /// One scan. Also the name of its Step Functions execution.
    ScanId, "scan");
uuid_id!(
    /// One repository of one tenant, derived from the tenant and the repository's canonical name.
    RepositoryId, "repository");
uuid_id!(
    /// One uploaded archive.
    UploadId, "upload");
uuid_id!(
    /// One finding as it lives on over many scans.
    FindingId, "finding");

uuid_id!(
    /// One batch of prices, ports or regions. Also the name of its Step Functions execution.
    BatchId, "batch");

impl BatchId {
    /// A fresh id, ordered by `now` (UUID version 7).
    pub fn new(now: OffsetDateTime) -> Self {
        Self(uuid_v7(now))
    }

    /// The id of a file that was put into S3 without asking. `sequencer` is of the event that tells of it: it is the same however often
    /// the event comes, and another when the same file is put there again. Without one, an object with this content is one batch.
    pub fn derived(tenant: &TenantId, key: &str, etag: &str, sequencer: Option<&str>) -> Self {
        let mut name = format!("batch\n{tenant}\n{key}\n{etag}");
        if let Some(sequencer) = sequencer {
            name = format!("{name}\n{sequencer}");
        }
        Self(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
    }

    /// The id that one `Idempotency-Key` of one tenant always has.
    pub fn of_request(tenant: &TenantId, idempotency_key: &str) -> Self {
        Self(Uuid::new_v5(&NAMESPACE, format!("batch request\n{tenant}\n{idempotency_key}").as_bytes()))
    }

    /// Of everything that becomes of the batch: S3 passes no trace on, and its id is one that every step knows.
    pub fn trace_id(self) -> String {
        self.0.simple().to_string()
    }
}

impl ScanId {
    /// A fresh id, ordered by `now` (UUID version 7).
    pub fn new(now: OffsetDateTime) -> Self {
        Self(uuid_v7(now))
    }

    /// The id that one `Idempotency-Key` of one tenant always has (UUID version 5): a retry is the same scan.
    pub fn derived(tenant: &TenantId, idempotency_key: &str) -> Self {
        Self(Uuid::new_v5(&NAMESPACE, format!("scan\n{tenant}\n{idempotency_key}").as_bytes()))
    }
}

impl UploadId {
    pub fn new(now: OffsetDateTime) -> Self {
        Self(uuid_v7(now))
    }
}

impl FindingId {
    pub fn new(now: OffsetDateTime) -> Self {
        Self(uuid_v7(now))
    }

    /// The id of a finding that no database keeps: the same place of the same repository always has it (UUID version 5).
    pub fn derived(repository: RepositoryId, fingerprint: &str, occurrence: u32) -> Self {
        Self(Uuid::new_v5(&NAMESPACE, format!("finding\n{repository}\n{fingerprint}\n{occurrence}").as_bytes()))
    }
}

impl RepositoryId {
    /// `canonical` comes from [`crate::repository::RepositoryName`].
    pub fn derived(tenant: &TenantId, canonical: &str) -> Self {
        Self(Uuid::new_v5(&NAMESPACE, format!("repository\n{tenant}\n{canonical}").as_bytes()))
    }
}

fn uuid_v7(now: OffsetDateTime) -> Uuid {
    let seconds = u64::try_from(now.unix_timestamp()).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, now.nanosecond()))
}

/// An organisation. Comes from the caller's token and nowhere else. It is a path segment of every object key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TenantId(String);

impl TenantId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TenantId {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        let ok = (1..=40).contains(&s.len())
            && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !s.starts_with('-');
        if ok { Ok(Self(s.to_owned())) } else { Err(IdError::Tenant { given: s.chars().take(60).collect() }) }
    }
}

impl<'de> Deserialize<'de> for TenantId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Where a job's result is stored: SHA-256, in hexadecimal, of everything that decides the result.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ResultKey(String);

impl ResultKey {
    pub fn from_digest(digest: [u8; 32]) -> Self {
        Self(hex::encode(digest))
    }
    /// Hashes `parts` unambiguously: each is preceded by its length.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self::from_digest(hash.finalize().into())
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResultKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ResultKey {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        if s.len() == 64 && s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            Ok(Self(s.to_owned()))
        } else {
            Err(IdError::ResultKey { given: s.chars().take(80).collect() })
        }
    }
}

impl<'de> Deserialize<'de> for ResultKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(s: &str) -> TenantId {
        s.parse().unwrap()
    }

    #[test]
    fn an_idempotency_key_names_one_scan_of_one_tenant() {
        let a = ScanId::derived(&tenant("acme"), "k1");
        assert_eq!(a, ScanId::derived(&tenant("acme"), "k1"));
        assert_ne!(a, ScanId::derived(&tenant("acme"), "k2"));
        assert_ne!(a, ScanId::derived(&tenant("umbrella"), "k1"));
    }

    #[test]
    fn ids_have_one_spelling() {
        let id = ScanId::derived(&tenant("acme"), "k").to_string();
        assert!(id.parse::<ScanId>().is_ok());
        assert!(id.to_uppercase().parse::<ScanId>().is_err());
        assert!(id.replace('-', "").parse::<ScanId>().is_err());
        assert!("../etc/passwd".parse::<ScanId>().is_err());
    }

    #[test]
    fn a_tenant_is_a_safe_path_segment() {
        assert!("acme-2".parse::<TenantId>().is_ok());
        for bad in ["", "-a", "A", "a/b", "..", "a b", &"x".repeat(41)] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn parts_of_a_result_key_do_not_run_together() {
        let a = ResultKey::of_parts([b"ab".as_slice(), b"c".as_slice()]);
        assert_ne!(a, ResultKey::of_parts([b"a".as_slice(), b"bc".as_slice()]));
        assert_eq!(a, a.as_str().parse().unwrap());
    }
}
