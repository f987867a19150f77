//! Git over HTTPS: find the commit, see whether its snapshot is there, fetch that one commit, pack its tree.
//!
//! There is no checkout, no `git` program, and no configuration: the pack goes to a temporary folder, and the tree is read
//! from the object database. Hooks, filters and attributes are names in a tree, nothing more.

mod fetch;
mod http;
mod session;
mod tree;

use crate::{Context, Error, credential::Credential, store::Place};
use dunlin_contracts::steps::{ScanMessage, SnapshotRef};
use gix::ObjectId;
use http::Channel;
use session::Session;
use std::{path::PathBuf, time::Duration};
use time::OffsetDateTime;
use tokio::{runtime::Handle, time::Instant};
use url::Url;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    DefaultBranch,
    Branch(String),
    Tag(String),
    Commit(ObjectId),
}

impl Wanted {
    pub(crate) fn new(branch: Option<&str>, tag: Option<&str>, commit: Option<&str>) -> Result<Self, Error> {
        match (branch, tag, commit) {
            (None, None, None) => Ok(Self::DefaultBranch),
            (Some(branch), None, None) => ref_name("branch", "refs/heads/", branch).map(Self::Branch),
            (None, Some(tag), None) => ref_name("tag", "refs/tags/", tag).map(Self::Tag),
            (None, None, Some(commit)) => match ObjectId::from_hex(commit.as_bytes()) {
                Ok(id) if !id.is_null() => Ok(Self::Commit(id)),
                _ => Err(Error::RefNotFound { kind: "commit", name: commit.chars().take(80).collect() }),
            },
            _ => Err(Error::BadInput("at most one of branch, tag and commit may be given".into())),
        }
    }

    /// For an error that names what was looked for.
    pub(crate) fn not_found(&self) -> Error {
        let (kind, name) = match self {
            Self::DefaultBranch => ("branch", "HEAD".to_owned()),
            Self::Branch(name) => ("branch", name.clone()),
            Self::Tag(name) => ("tag", name.clone()),
            Self::Commit(id) => ("commit", id.to_string()),
        };
        Error::RefNotFound { kind, name }
    }
}

/// A name that git itself would refuse cannot exist, and must not reach the protocol.
fn ref_name(kind: &'static str, prefix: &str, name: &str) -> Result<String, Error> {
    let full = format!("{prefix}{name}");
    match gix::validate::reference::name(full.as_str().into()) {
        Ok(_) => Ok(name.to_owned()),
        Err(_) => Err(Error::RefNotFound { kind, name: name.chars().take(200).collect() }),
    }
}

pub(crate) struct Request<'a> {
    pub(crate) url: &'a str,
    pub(crate) wanted: Wanted,
    pub(crate) credential: Option<&'a str>,
}

pub(crate) async fn snapshot(
    context: &Context,
    scan: &ScanMessage,
    request: Request<'_>,
    time: Duration,
) -> Result<SnapshotRef, Error> {
    let url = checked_url(context, request.url)?;
    if let Wanted::Commit(id) = &request.wanted {
        let place = Place::new(scan, id.to_string(), id.to_string(), OffsetDateTime::now_utc());
        if let Some(existing) = place.existing(context).await? {
            return Ok(existing);
        }
    }
    let credential = match request.credential {
        Some(name) => {
            let credential = Credential::load(context, &scan.tenant, name).await?;
            if credential.header_for(&url).is_none() {
                return Err(Error::AccessDenied(format!("the credential {name:?} is for another host")));
            }
            Some(credential)
        }
        None => None,
    };

    let channel = Channel::new(
        context.egress.clone(),
        url,
        credential,
        Handle::current(),
        Instant::now() + time,
        context.limits.references_bytes,
    );
    let wanted = request.wanted;
    let (session, found) = blocking(move || {
        // Before the server is asked, and older ones answer with the handshake: a push meanwhile makes the answer newer than it
        // says, and never older.
        let asked_at = OffsetDateTime::now_utc();
        let mut session = Session::open(channel)?;
        let found = session.find(&wanted)?;
        Ok((session, (wanted, found, asked_at)))
    })
    .await?;
    let (wanted, found, asked_at) = found;
    let place = Place::new(scan, found.commit.to_string(), found.track, asked_at);
    if let Some(existing) = place.existing(context).await? {
        return Ok(existing);
    }

    let scratch = tempfile::Builder::new().prefix("fetch-").tempdir_in(&context.scratch).map_err(Error::Scratch)?;
    let (folder, limits) = (scratch.path().to_owned(), context.limits);
    let (packed, committed, archive) = blocking(move || {
        let objects = session.fetch(&folder, found.commit, &wanted, &limits)?;
        let archive: PathBuf = folder.join("snapshot.tar.zst");
        let (packed, committed) = tree::pack(&objects, found.commit, &wanted, &archive, limits.snapshot)?;
        Ok((packed, committed, archive))
    })
    .await?;
    let committed_at = OffsetDateTime::from_unix_timestamp(committed)
        .unwrap_or(scan.accepted_at)
        .clamp(OffsetDateTime::UNIX_EPOCH, scan.accepted_at);
    place.write(context, &packed, &archive, committed_at).await
}

fn checked_url(context: &Context, text: &str) -> Result<Url, Error> {
    let url = Url::parse(text).map_err(|_| Error::UrlRefused("it is not a URL"))?;
    context.egress.policy().check_url(&url).map_err(Error::AddressRefused)?;
    if !http::is_safe_scheme(&context.egress, &url) {
        return Err(Error::UrlRefused("repositories are fetched over https only"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Error::UrlRefused("the URL of a repository has no query and no fragment"));
    }
    Ok(url)
}

/// Git's protocol code blocks. It gets a thread of its own, in the span of the scan.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work))
        .await
        .unwrap_or_else(|e| Err(Error::Unavailable(format!("the fetch ended early: {e}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_git_would_refuse_never_reach_the_protocol() {
        for bad in ["", "a b", "a\nwant x", "a..b", "-", "a~1", "a^", "a:b", "a\\b", "a.lock", "/a", "a/", "@{", "a\0"]
        {
            // A dash alone is a valid name for git; as text in a protocol it can do no harm.
            let result = Wanted::new(Some(bad), None, None);
            assert!(bad == "-" || matches!(result, Err(Error::RefNotFound { kind: "branch", .. })), "{bad:?}");
        }
        for good in ["main", "feature/x", "--upload-pack=touch", "v1.0"] {
            assert!(Wanted::new(Some(good), None, None).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn commits_are_whole_ids() {
        let id = "1f0c3b2a9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a";
        assert!(Wanted::new(None, None, Some(id)).is_ok());
        assert!(Wanted::new(None, None, Some(&id.repeat(2)[..64])).is_ok());
        for bad in ["", "abc", &id[..39], "HEAD", &"0".repeat(40), &"g".repeat(40)] {
            assert!(
                matches!(Wanted::new(None, None, Some(bad)), Err(Error::RefNotFound { kind: "commit", .. })),
                "{bad:?}"
            );
        }
        assert!(matches!(Wanted::new(Some("a"), Some("b"), None), Err(Error::BadInput(_))));
    }
}
