//! Uploads, and the sample events.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking, like the test")]

mod support;

use bytes::Bytes;
use dunlin_cloud::ObjectStore;
use dunlin_contracts::steps::SourceInput;
use dunlin_runtime::Named;
use dunlin_source::{Error, Limits, handler};
use serde_json::json;
use std::{
    io::Write,
    path::Path,
    time::{Duration, SystemTime},
};
use support::{Fixture, TENANT};

const UPLOAD: &str = "0190d5f2-7c3a-7e11-9d6e-3f6b9f1f3b02";

fn tar_gz(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, *data).unwrap();
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar.into_inner().unwrap()).unwrap();
    gzip.finish().unwrap()
}

async fn upload(fixture: &Fixture, archive: Vec<u8>) {
    fixture.objects.put(&format!("uploads/{TENANT}/{UPLOAD}"), Bytes::from(archive), "application/gzip").await.unwrap();
}

fn target() -> serde_json::Value {
    json!({ "type": "upload", "upload_id": UPLOAD, "repository": "my shop", "branch": "topic" })
}

const TIME: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_upload_becomes_a_snapshot_under_the_digest_of_its_files() {
    let fixture = Fixture::new();
    upload(&fixture, tar_gz(&[("b.py", b"2"), ("a.py", b"1")])).await;
    let first = fixture.run(&target(), TIME).await.unwrap();
    assert_eq!((first.files, first.bytes, first.track.as_str(), first.reused), (2, 2, "upload:topic", false));
    assert_eq!(first.revision.len(), 64);
    assert_eq!(first.prefix, format!("snapshots/{TENANT}/7d1c1f5e-5a0b-5c6e-8f4e-1b2a3c4d5e6f/{}", first.revision));
    assert_eq!(first.committed_at, support::input(&target()).scan.accepted_at);

    // The same files in another archive are the same snapshot.
    upload(&fixture, tar_gz(&[("./a.py", b"1"), ("./b.py", b"2")])).await;
    let keys = fixture.objects.keys();
    let again = fixture.run(&target(), TIME).await.unwrap();
    assert!(again.reused && again.prefix == first.prefix);
    assert_eq!(again.resolved_at, support::input(&target()).scan.accepted_at);
    assert_eq!(fixture.objects.keys(), keys);

    upload(&fixture, tar_gz(&[("a.py", b"1"), ("b.py", b"3")])).await;
    assert_ne!(fixture.run(&target(), TIME).await.unwrap().revision, first.revision);
}

#[tokio::test]
async fn uploads_that_cannot_be_used_are_named() {
    let fixture = Fixture::new();
    assert!(matches!(fixture.run(&target(), TIME).await, Err(Error::UploadMissing)));
    for archive in
        [tar_gz(&[("../evil", b"x")]), b"PK\x03\x04".to_vec(), tar_gz(&[("a", b"1")])[..40].to_vec(), Vec::new()]
    {
        upload(&fixture, archive).await;
        let error = fixture.run(&target(), TIME).await.unwrap_err();
        assert_eq!(error.name(), "Source.ArchiveRefused", "{error:?}");
    }
    assert_eq!(
        fixture.objects.keys(),
        [format!("uploads/{TENANT}/{UPLOAD}")],
        "nothing is written for a refused upload"
    );

    let fixture = Fixture::with_limits(Limits { upload_bytes: 20, ..Limits::default() });
    upload(&fixture, tar_gz(&[("a", b"1")])).await;
    assert_eq!(fixture.run(&target(), TIME).await.unwrap_err().name(), "Source.TooLarge");
}

#[tokio::test]
async fn while_storage_is_down_the_error_is_worth_another_try() {
    let fixture = Fixture::new();
    upload(&fixture, tar_gz(&[("a", b"1")])).await;
    for prefix in ["uploads/", "snapshots/"] {
        fixture.objects.make_unavailable(Some(prefix));
        assert_eq!(fixture.run(&target(), TIME).await.unwrap_err().name(), "Source.Unavailable", "{prefix}");
    }
    fixture.objects.make_unavailable(None);
    assert!(!fixture.run(&target(), TIME).await.unwrap().reused);
}

#[tokio::test]
async fn the_sample_events_are_inputs_of_this_function() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/source");
    let deadline = SystemTime::now() + Duration::from_secs(600);
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let event: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let input: SourceInput = serde_json::from_value(event.clone()).unwrap();
        assert_eq!(serde_json::to_value(&input).unwrap(), event, "{} has fields that are not read", path.display());
        // Without the object and outside the real world, each event has one known answer.
        let name = handler::handle(&Fixture::new().context, event, deadline).await.unwrap_err().name();
        let expected = match path.file_stem().and_then(|s| s.to_str()).unwrap() {
            "upload" => "Source.UploadMissing",
            "private-address" => "Source.AddressRefused",
            "git-branch" => "Source.Unavailable", // the test's resolver knows no host of the internet
            other => panic!("the event {other} is not tested"),
        };
        assert_eq!(name, expected, "{}", path.display());
        seen += 1;
    }
    assert_eq!(seen, 3);
}

#[tokio::test]
async fn inputs_that_are_not_ours_are_refused() {
    let fixture = Fixture::new();
    let mut other_version = serde_json::to_value(support::input(&target())).unwrap();
    other_version["scan"]["version"] = json!(2);
    for event in [json!({}), json!([]), json!({ "scan": {} }), other_version] {
        let error = handler::handle(&fixture.context, event, SystemTime::now() + TIME).await.unwrap_err();
        assert_eq!(error.name(), "Source.BadInput");
    }
}
