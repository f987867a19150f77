//! The function with fakes around it.
#![allow(clippy::allow_attributes, dead_code, reason = "each test file uses its own part of this")]

pub mod disk;

use async_trait::async_trait;
use dunlin_cloud::ObjectStore;
use dunlin_cloud::memory::{MemoryObjects, MemorySecrets};
use dunlin_contracts::steps::{SnapshotRef, SourceInput};
use dunlin_core::{
    keys,
    manifest::{SnapshotFile, SnapshotManifest},
};
use dunlin_egress::{AddressPolicy, Egress, Lookup, Timeouts};
use dunlin_source::{Context, Error, Limits, handler};
use serde_json::json;
use std::{
    io::{self, Read},
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

pub const TENANT: &str = "demo";

struct Names;

#[async_trait]
impl Lookup for Names {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        match name {
            "git.test" | "other.test" | "inside.test" => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
            _ => Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
        }
    }
}

/// The function with fakes around it.
pub struct Fixture {
    pub context: Context,
    pub objects: Arc<MemoryObjects>,
    pub secrets: Arc<MemorySecrets>,
    pub scratch: tempfile::TempDir,
}

impl Fixture {
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub fn with_limits(limits: Limits) -> Self {
        let policy: AddressPolicy = "git.test,other.test".parse().unwrap();
        let timeouts = Timeouts { connect: Duration::from_secs(5), idle: Duration::from_secs(20) };
        Self::build(limits, Egress::with_lookup(policy, timeouts, Arc::new(Names)).unwrap())
    }

    pub fn with_egress(egress: Egress) -> Self {
        Self::build(Limits::default(), egress)
    }

    fn build(limits: Limits, egress: Egress) -> Self {
        let (objects, secrets) = (Arc::new(MemoryObjects::default()), Arc::new(MemorySecrets::default()));
        let scratch = tempfile::tempdir().unwrap();
        let context = Context {
            objects: objects.clone(),
            secrets: secrets.clone(),
            egress,
            secrets_prefix: "dunlin/test".into(),
            limits,
            scratch: scratch.path().to_owned(),
        };
        Self { context, objects, secrets, scratch }
    }

    pub async fn git(&self, target: serde_json::Value) -> Result<SnapshotRef, Error> {
        let mut target = target;
        target["type"] = json!("git");
        self.run(&target, Duration::from_secs(60)).await
    }

    pub async fn run(&self, target: &serde_json::Value, time: Duration) -> Result<SnapshotRef, Error> {
        let result = handler::run(&self.context, &input(target), time).await;
        let left: Vec<_> = std::fs::read_dir(self.scratch.path()).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(left, Vec::<PathBuf>::new(), "temporary files are left");
        result
    }

    pub async fn manifest(&self, snapshot: &SnapshotRef) -> SnapshotManifest {
        let body = self.objects.get(&keys::snapshot_manifest(&snapshot.prefix)).await.unwrap().unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    pub async fn files(&self, snapshot: &SnapshotRef) -> Vec<SnapshotFile> {
        let body = self.objects.get(&keys::snapshot_files(&snapshot.prefix)).await.unwrap().unwrap();
        dunlin_snapshot::read_files_list(&body[..], 1000).unwrap().map(Result::unwrap).collect()
    }

    pub async fn archive(&self, snapshot: &SnapshotRef) -> Vec<u8> {
        let sha256 = self.manifest(snapshot).await.archive_sha256;
        self.objects.get(&keys::snapshot_archive(&snapshot.prefix, &sha256)).await.unwrap().unwrap().to_vec()
    }

    /// Paths, modes and contents as an ordinary tar reader sees them.
    pub async fn contents(&self, snapshot: &SnapshotRef) -> Vec<(String, u32, Vec<u8>)> {
        let archive = self.archive(snapshot).await;
        let mut tar = tar::Archive::new(zstd::Decoder::new(archive.as_slice()).unwrap());
        tar.entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut data = Vec::new();
                entry.read_to_end(&mut data).unwrap();
                (entry.path().unwrap().to_str().unwrap().to_owned(), entry.header().mode().unwrap(), data)
            })
            .collect()
    }
}

pub fn input(target: &serde_json::Value) -> SourceInput {
    serde_json::from_value(json!({ "scan": {
        "version": 1,
        "scan_id": "0190d5f2-7c3a-7e11-9d6e-3f6b9f1f3a01",
        "tenant": TENANT,
        "repository_id": "7d1c1f5e-5a0b-5c6e-8f4e-1b2a3c4d5e6f",
        "repository": "git.test/shop",
        "request": { "target": target },
        "requested_by": "somebody",
        "accepted_at": "2026-11-20T09:30:00Z",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    }}))
    .unwrap()
}

/// Everything a person or a log would see of an error.
pub fn told(error: &Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut below = std::error::Error::source(error);
    while let Some(cause) = below {
        text.push_str(&format!(" {cause}"));
        below = cause.source();
    }
    text
}
