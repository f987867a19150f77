//! Handshake and references: which commit is meant.

use super::{Wanted, http::Channel};
use crate::Error;
use gix::{
    ObjectId,
    hash::Kind,
    progress::Discard,
    protocol::{
        Handshake, LsRefsCommand,
        command::Feature,
        handshake::Ref,
        ls_refs::RefPrefixes,
        transport::{Protocol, Service},
    },
};
use gix_transport::client::blocking_io::http::Transport;

/// Of a branch, in bytes.
const LONGEST_NAME: usize = 255;

/// A server that has answered the handshake.
pub(crate) struct Session {
    pub(super) channel: Channel,
    pub(super) transport: Transport<Channel>,
    pub(super) handshake: Handshake,
    pub(super) hash: Kind,
}

/// The commit that is meant, and the line of history it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) commit: ObjectId,
    pub(crate) track: String,
}

pub(super) fn agent() -> Feature {
    ("agent", Some(concat!("dunlin/", env!("CARGO_PKG_VERSION")).to_owned()))
}

impl Session {
    pub(crate) fn open(channel: Channel) -> Result<Self, Error> {
        let url = gix::url::parse(channel.url().as_str()).map_err(|_| Error::UrlRefused("it is not a URL"))?;
        let mut transport = Transport::new_http(channel.clone(), url, Protocol::V2, false);
        let handshake =
            gix::protocol::handshake(&mut transport, Service::UploadPack, |_| Ok(None), Vec::new(), &mut Discard)
                .map_err(|e| {
                    let reason = Error::RepositoryNotFound("what answers at this address is not a git server");
                    failed(&channel, &e, reason)
                })?;
        let format = handshake.capabilities.capability("object-format").and_then(|c| c.value().map(|v| v.to_string()));
        let hash = match format.as_deref() {
            None | Some("sha1") => Kind::Sha1,
            Some("sha256") => Kind::Sha256,
            Some(_) => return Err(Error::RepositoryRefused("its object format is not known here".into())),
        };
        Ok(Self { channel, transport, handshake, hash })
    }

    /// Asks the server for the reference that is wanted, and for no other.
    pub(crate) fn find(&mut self, wanted: &Wanted) -> Result<Found, Error> {
        let (name, track) = match wanted {
            Wanted::Commit(id) if id.kind() != self.hash => return Err(wanted.not_found()),
            Wanted::Commit(id) => return Ok(Found { commit: *id, track: id.to_string() }),
            Wanted::Branch(name) => (format!("refs/heads/{name}"), name.clone()),
            Wanted::Tag(name) => (format!("refs/tags/{name}"), format!("tag:{name}")),
            Wanted::DefaultBranch => return self.find_default(),
        };
        let refs = self.refs(&name)?;
        match refs.iter().find_map(|r| target(r, &name)) {
            Some((commit, _)) => Ok(Found { commit, track }),
            None => Err(wanted.not_found()),
        }
    }

    fn find_default(&mut self) -> Result<Found, Error> {
        let refs = self.refs("HEAD")?;
        if let Some((commit, branch)) = refs.iter().find_map(|r| target(r, "HEAD")) {
            let track = branch.unwrap_or_else(|| "HEAD".to_owned());
            // The server's word. Of the names that people send, intake has made sure.
            if track.len() > LONGEST_NAME
                || gix::validate::reference::name(format!("refs/heads/{track}").as_str().into()).is_err()
            {
                return Err(Error::RepositoryRefused("the name of its default branch is too long, or none".into()));
            }
            return Ok(Found { commit, track });
        }
        // Either there is nothing at all, or HEAD names a branch that is not there.
        let branches = self.refs("refs/heads/")?;
        if !branches.iter().any(|r| matches!(r, Ref::Direct { .. } | Ref::Symbolic { .. })) {
            return Err(Error::Empty);
        }
        let name = refs.iter().find_map(|r| match r {
            Ref::Unborn { target, .. } => {
                target.to_string().strip_prefix("refs/heads/").map(|name| name.chars().take(LONGEST_NAME).collect())
            }
            _ => None,
        });
        Err(Error::RefNotFound { kind: "default branch", name: name.unwrap_or_else(|| "HEAD".to_owned()) })
    }

    fn refs(&mut self, prefix: &str) -> Result<Vec<Ref>, Error> {
        // Older servers sent everything with the handshake.
        if let Some(refs) = &self.handshake.refs {
            return Ok(refs.clone());
        }
        let mut prefixes = RefPrefixes::new();
        prefixes.extend([prefix.into()]);
        LsRefsCommand::new(Some(prefixes), &self.handshake.capabilities, agent())
            .invoke_blocking(&mut self.transport, &mut Discard, false)
            .map_err(|e| failed(&self.channel, &e, Error::Unavailable("its list of references cannot be read".into())))
    }
}

/// The commit of the reference with this very name, and the branch that a symbolic one leads to.
fn target(reference: &Ref, name: &str) -> Option<(ObjectId, Option<String>)> {
    match reference {
        Ref::Direct { full_ref_name, object } | Ref::Peeled { full_ref_name, object, .. } if full_ref_name == name => {
            Some((*object, None))
        }
        Ref::Symbolic { full_ref_name, target, object, .. } if full_ref_name == name => {
            let branch = target.to_string().strip_prefix("refs/heads/").map(str::to_owned);
            Some((*object, branch))
        }
        _ => None,
    }
}

/// The reason the channel knows, else `otherwise`. What the protocol code says goes to the log: it may quote the server.
pub(super) fn failed(channel: &Channel, error: &gix::Error, otherwise: Error) -> Error {
    let reason = channel.take_failure().unwrap_or(otherwise);
    tracing::warn!(cause = %chain(error), "git protocol failed");
    reason
}

fn chain(error: &gix::Error) -> String {
    error.iter_errors().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
