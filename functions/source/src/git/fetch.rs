//! One commit, without history, into an object database in a temporary folder.

use super::{
    Wanted,
    session::{Session, agent, failed},
};
use crate::{Error, Limits};
use gix::{
    ObjectId,
    odb::pack,
    progress::Discard,
    protocol::fetch::{self, Arguments, Context, Options, Response, Shallow, Tags, negotiate},
};
use std::{
    fs,
    num::NonZeroU32,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

/// The objects of one commit.
pub(crate) struct Objects {
    pub(super) odb: gix::odb::Handle,
    /// The server was asked to leave out files that are too large anyway: a missing file is one of these.
    pub(super) filtered: bool,
}

impl Session {
    pub(crate) fn fetch(
        mut self,
        folder: &Path,
        commit: ObjectId,
        wanted: &Wanted,
        limits: &Limits,
    ) -> Result<Objects, Error> {
        let objects = folder.join("objects");
        fs::create_dir_all(objects.join("pack")).map_err(Error::Scratch)?;
        self.channel.expect_commit(limits.fetched_bytes);
        let filtered = Arc::new(AtomicBool::new(false));
        let mut wish = Wish { commit, largest_file: limits.snapshot.file_bytes, filtered: Arc::clone(&filtered) };
        let stop = Arc::new(AtomicBool::new(false));
        let _watch = Watch::start(&self, &stop);
        let hash = self.hash;
        let depth = Shallow::DepthAtRemote(NonZeroU32::MIN);
        let result = gix::protocol::fetch(
            &mut wish,
            |reader, progress, stop| {
                let nothing_local = None::<gix::odb::Handle>;
                let folder = objects.join("pack");
                let write = write_options(limits, filtered.load(Ordering::Relaxed));
                pack::Bundle::write_to_directory(reader, Some(&folder), progress, stop, nothing_local, hash, write)?;
                Ok(true)
            },
            Discard,
            &stop,
            Context {
                handshake: &mut self.handshake,
                transport: &mut self.transport,
                user_agent: agent(),
                trace_packetlines: false,
            },
            Options {
                shallow_file: folder.join("shallow"),
                shallow: &depth,
                tags: Tags::None,
                reject_shallow_remote: false,
            },
        );
        match result {
            Ok(Some(_)) => {}
            Ok(None) => return Err(Error::Unavailable("the server sends nothing".into())),
            Err(e) => return Err(self.why(&e, wanted, limits, filtered.load(Ordering::Relaxed))),
        }
        let odb = gix::odb::at(objects, hash).map_err(Error::Scratch)?;
        Ok(Objects { odb, filtered: filtered.load(Ordering::Relaxed) })
    }

    fn why(&self, error: &gix::Error, wanted: &Wanted, limits: &Limits, filtered: bool) -> Error {
        let text = self.channel.answer_begins();
        let otherwise = if self.channel.is_over_time() {
            Error::Unavailable("the fetch takes too long".into())
        } else if error.classify().is_resource_exhausted() {
            let largest = object_bytes(limits, filtered);
            Error::TooLarge(format!(
                "a file or folder of it is larger than {} MiB, or there are too many",
                largest >> 20
            ))
        } else if text.contains("ERR upload-pack: not our ref") || text.contains("ERR unadvertised object") {
            // Words of git's upload-pack; the protocol has no code for it.
            wanted.not_found()
        } else {
            Error::Unavailable("what it sends cannot be read".into())
        };
        failed(&self.channel, error, otherwise)
    }
}

/// Room that folders need beside the largest file: one with a million entries has some 50 MiB.
const FOLDER_BYTES: u64 = 64 << 20;

/// The largest object that is unpacked. A server that was asked to leave large files out has no reason to send one.
fn object_bytes(limits: &Limits, filtered: bool) -> usize {
    let honest = usize::try_from(limits.snapshot.file_bytes.max(FOLDER_BYTES)).unwrap_or(usize::MAX);
    if filtered { honest.min(limits.object_bytes) } else { limits.object_bytes }
}

fn write_options(limits: &Limits, filtered: bool) -> pack::bundle::write::Options {
    pack::bundle::write::Options {
        alloc_limit_bytes: Some(object_bytes(limits, filtered)),
        // Each thread holds an object and what it is a difference of; two that are as large as they may be would not fit
        // into the function's memory.
        thread_limit: if filtered { None } else { Some(1) },
        ..pack::bundle::write::Options::default()
    }
}

/// Wants one commit and has nothing.
struct Wish {
    commit: ObjectId,
    largest_file: u64,
    filtered: Arc<AtomicBool>,
}

impl fetch::Negotiate for Wish {
    fn mark_complete_and_common_ref(&mut self) -> gix::error::Result<negotiate::Action> {
        Ok(negotiate::Action::MustNegotiate { remote_ref_target_known: Vec::new() })
    }

    fn add_wants(&mut self, arguments: &mut Arguments, _known: &[bool]) -> bool {
        if arguments.can_use_filter() {
            // `blob:limit` leaves out files of that size and larger.
            arguments.filter(&format!("blob:limit={}", self.largest_file + 1));
            self.filtered.store(true, Ordering::Relaxed);
        }
        arguments.want(self.commit);
        true
    }

    fn one_round(
        &mut self,
        _state: &mut negotiate::one_round::State,
        _arguments: &mut Arguments,
        _previous: Option<&Response>,
    ) -> gix::error::Result<(negotiate::Round, bool)> {
        let round = negotiate::Round {
            haves_sent: 0,
            in_vain: 0,
            haves_to_send: 0,
            previous_response_had_at_least_one_in_common: false,
        };
        Ok((round, true))
    }
}

/// Stops the resolving of a pack when the time is over: that part reads nothing from the network, where the deadline is
/// looked at.
struct Watch {
    /// Dropped with the watch, which ends its thread.
    _done: mpsc::Sender<()>,
}

impl Watch {
    fn start(session: &Session, stop: &Arc<AtomicBool>) -> Self {
        let (done, ended) = mpsc::channel();
        let (channel, stop) = (session.channel.clone(), Arc::clone(stop));
        thread::spawn(move || {
            while ended.recv_timeout(Duration::from_millis(500)) == Err(mpsc::RecvTimeoutError::Timeout) {
                if channel.is_over_time() {
                    stop.store(true, Ordering::Relaxed);
                    return;
                }
            }
        });
        Self { _done: done }
    }
}
