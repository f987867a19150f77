//! Uploads: archives that people, or somebody else, sent to S3.

use crate::{Context, Error, store::Place};
use dunlin_contracts::steps::{ScanMessage, SnapshotRef};
use dunlin_snapshot::repack_upload;
use std::{fs::File, io::BufReader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Uploads have a line of history of their own: what somebody has changed and not pushed must close no finding of the branch.
fn track(branch: Option<&str>) -> String {
    branch.map_or_else(|| "upload".to_owned(), |branch| format!("upload:{branch}"))
}

pub(crate) async fn snapshot(
    context: &Context,
    scan: &ScanMessage,
    key: &str,
    branch: Option<&str>,
) -> Result<SnapshotRef, Error> {
    let scratch = tempfile::Builder::new().prefix("upload-").tempdir_in(&context.scratch).map_err(Error::Scratch)?;
    let received = scratch.path().join("received");
    download(context, key, &received).await?;

    let archive = scratch.path().join("snapshot.tar.zst");
    let (limits, out) = (context.limits.snapshot, archive.clone());
    let span = tracing::Span::current();
    let packed = tokio::task::spawn_blocking(move || {
        let _entered = span.entered();
        let input = BufReader::new(File::open(&received).map_err(Error::Scratch)?);
        let mut spool = tempfile::tempfile_in(received.parent().unwrap_or(&received)).map_err(Error::Scratch)?;
        let out = File::create_new(out).map_err(Error::Scratch)?;
        repack_upload(input, &mut spool, out, limits).map(|(packed, _)| packed).map_err(Error::in_upload)
    })
    .await
    .map_err(|e| Error::Unavailable(format!("packing ended early: {e}")))??;

    let place = Place::new(scan, packed.tree_digest.clone(), track(branch), scan.accepted_at);
    match place.existing(context).await? {
        Some(existing) => Ok(existing),
        None => place.write(context, &packed, &archive, scan.accepted_at).await,
    }
}

async fn download(context: &Context, key: &str, to: &std::path::Path) -> Result<(), Error> {
    let limit = context.limits.upload_bytes;
    let too_large = || Error::TooLarge(format!("the upload has more than {} MiB", limit >> 20));
    let (info, reader) = context.objects.get_stream(key).await?.ok_or(Error::UploadMissing)?;
    if info.bytes > limit {
        return Err(too_large());
    }
    let mut file = tokio::fs::File::create_new(to).await.map_err(Error::Scratch)?;
    let mut reader = reader.take(limit + 1);
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        let n = reader
            .read(&mut buffer)
            .await
            .map_err(|_| Error::Unavailable("storage broke off while it sent the upload".into()))?;
        if n == 0 {
            break;
        }
        total += n as u64;
        file.write_all(&buffer[..n]).await.map_err(Error::Scratch)?;
    }
    file.flush().await.map_err(Error::Scratch)?;
    if total > limit {
        return Err(too_large());
    }
    if total != info.bytes {
        return Err(Error::Unavailable("storage broke off while it sent the upload".into()));
    }
    Ok(())
}
