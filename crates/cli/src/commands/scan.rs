//! `dunlin scan`: sends a working tree or points at a repository, starts the scan and stays with it.

use super::result;
use crate::{
    api::Api,
    archive::{self, Archive},
    args::Scan,
    http,
    outcome::Outcome,
    render,
    terminal::Terminal,
    text, transfer,
    worktree::{self, Choice, WorkTree, scp_like},
};
use anyhow::{Context, bail, ensure};
use dunlin_contracts::api::{ScanRequest, Target, UploadRequest};
use dunlin_core::manifest::SkipReason;
use std::path::Path;
use url::Url;
use uuid::Uuid;

pub async fn run(args: Scan, api: &Api, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let target = match address(&args.target)? {
        Some(url) => pointed(&args, url)?,
        None => uploaded(&args, api, terminal).await?,
    };
    let engines = (!args.engines.is_empty()).then(|| args.engines.clone());
    // Made up when not given, so that a request whose answer was lost can be repeated without making a second scan.
    let key = args.idempotency_key.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
    let accepted = api.start_scan(&ScanRequest { target, engines }, &key).await.context("the scan was not accepted")?;
    if args.detach {
        terminal.print(&format!("{}\n", accepted.id)).context("the id could not be printed")?;
        terminal.note(&format!("scan:   {}", result::links(api, accepted.id).scan));
        terminal.note(&format!("follow: dunlin show {} --follow", accepted.id));
        return Ok(Outcome::Clean);
    }
    result::follow_and_tell(api, accepted.id, &args.follow, &args.result, terminal).await
}

/// The target as an address; `None` when it is a folder.
pub(super) fn address(target: &str) -> anyhow::Result<Option<Url>> {
    if !target.contains("://") {
        if !Path::new(target).exists()
            && let Some(ssh) = scp_like(target)
        {
            bail!(
                "{target} is reached by SSH, which the server does not do; try https://{}",
                ssh.trim_start_matches("ssh://")
            );
        }
        return Ok(None);
    }
    let url = Url::parse(target).with_context(|| text::no_address(target))?;
    match url.scheme() {
        "https" | "http" => {}
        "ssh" | "git" => bail!(
            "addresses of kind {:?} cannot be scanned; try https://{}{}",
            url.scheme(),
            url.host_str().unwrap_or("host"),
            url.path()
        ),
        other => bail!("addresses of kind {other:?} cannot be scanned; give https://host/path, or a folder"),
    }
    // The server refuses them too, but then they would have travelled and be in its logs.
    ensure!(
        url.username().is_empty() && url.password().is_none(),
        "the address holds a user name or a token; store it with `dunlin credential set` and use --credential"
    );
    Ok(Some(url))
}

fn pointed(args: &Scan, url: Url) -> anyhow::Result<Target> {
    ensure!(args.name.is_none(), "--name is for folders; a repository is called what its address says");
    ensure!(!args.untracked && !args.all_files, "--untracked and --all-files are for folders");
    Ok(Target::Git {
        url: url.into(),
        branch: args.branch.clone(),
        tag: args.tag.clone(),
        commit: args.commit.clone(),
        credential: args.credential.clone(),
    })
}

pub(super) fn choice(args: &Scan) -> Choice {
    match (args.all_files, args.untracked) {
        (true, _) => Choice::All,
        (false, true) => Choice::Untracked,
        (false, false) => Choice::Tracked,
    }
}

async fn uploaded(args: &Scan, api: &Api, terminal: &Terminal) -> anyhow::Result<Target> {
    for (given, option) in [(&args.tag, "--tag"), (&args.commit, "--commit"), (&args.credential, "--credential")] {
        ensure!(given.is_none(), "{option} is for addresses; a folder is sent as it is now");
    }
    let choice = choice(args);
    let path = args.target.clone();
    let (tree, archive) = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let tree = worktree::inspect(Path::new(&path), choice)?;
        let archive = archive::pack(&tree.root, &tree.files)?;
        Ok((tree, archive))
    })
    .await
    .context("packing was stopped")??;
    tell_about(&tree, &archive, args, terminal);

    let target = api
        .start_upload(&UploadRequest { bytes: archive.bytes, sha256: archive.sha256.clone() })
        .await
        .context("the server takes no upload")?;
    let bar = render::live::transfer(terminal, !args.follow.no_progress, archive.bytes);
    let moving = bar.clone();
    let sent =
        transfer::send(&http::transfer_client()?, &archive, &target, move |bytes| moving.set_position(bytes)).await;
    bar.finish_and_clear();
    sent?;
    Ok(Target::Upload {
        upload_id: target.upload_id,
        repository: args.name.clone().unwrap_or(tree.name),
        branch: args.branch.clone().or(tree.branch),
        commit: tree.commit,
    })
}

pub(super) fn tell_left(missing: u64, behind_links: u64, terminal: &Terminal) {
    if missing > 0 {
        terminal.warning(&format!("{} tracked but not in the folder, so not scanned", are(missing)));
    }
    if behind_links > 0 {
        terminal.warning(&format!("{} behind a link that leads elsewhere, so not scanned", are(behind_links)));
    }
}

fn tell_about(tree: &WorkTree, archive: &Archive, args: &Scan, terminal: &Terminal) {
    if !args.follow.no_progress {
        terminal.note(&format!(
            "{} of {} packed, {} to send",
            text::count(archive.files, "file"),
            text::clean(args.name.as_deref().unwrap_or(&tree.name)),
            text::bytes(archive.bytes)
        ));
    }
    tell_left(archive.missing, archive.behind_links, terminal);
    if archive.skipped_total > 0 {
        terminal.warning(&format!("{} left out: {}", are(archive.skipped_total), some_of(archive)));
    }
}

/// The first few that were left out, with the reason.
fn some_of(archive: &Archive) -> String {
    const SHOWN: usize = 5;
    let shown = archive.skipped.iter().take(SHOWN);
    let mut list: Vec<_> = shown.map(|s| format!("{} ({})", text::clean(&s.path), reason(s.reason))).collect();
    let rest = archive.skipped_total.saturating_sub(list.len() as u64);
    if rest > 0 {
        list.push(format!("and {rest} more"));
    }
    list.join(", ")
}

fn reason(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::Symlink => "a link",
        SkipReason::Submodule => "a submodule",
        SkipReason::HardLink => "a hard link",
        SkipReason::SpecialFile => "not a file",
        SkipReason::NotUtf8 => "its name is not UTF-8",
        SkipReason::TooLarge => "too large",
        SkipReason::TooDeep => "below too many folders",
        SkipReason::CaseCollision => "differs from another only in upper and lower case",
        SkipReason::GitInternals => "belongs to git",
        SkipReason::LfsPointer => "only a pointer of git lfs; git lfs pull gets the file",
    }
}

fn are(number: u64) -> String {
    if number == 1 { "1 file is".to_owned() } else { format!("{number} files are") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_addresses_are_told_apart() {
        for folder in [".", "src", "/srv/a", "../a", "C:\\a"] {
            assert_eq!(address(folder).unwrap(), None, "{folder}");
        }
        assert_eq!(address("https://host/a/b").unwrap().unwrap().as_str(), "https://host/a/b");
        let refused = [
            ("git@github.com:psf/requests.git", "try https://github.com/psf/requests.git"),
            ("ssh://git@github.com/psf/requests", "try https://github.com/psf/requests"),
            ("https://user:hunter2@host/a", "dunlin credential set"),
            ("file:///etc", "cannot be scanned"),
        ];
        for (target, hint) in refused {
            let error = address(target).unwrap_err().to_string();
            assert!(error.contains(hint) && !error.contains("hunter2"), "{target}: {error}");
        }
    }
}
