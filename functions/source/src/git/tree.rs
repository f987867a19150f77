//! The tree of a commit, from the object database into a snapshot.

use super::{Wanted, fetch::Objects};
use crate::Error;
use dunlin_core::manifest::SkipReason;
use dunlin_snapshot::{Checked, Limits, Packed, Packer, check_path};
use gix::{
    ObjectId,
    objs::{FindExt, Kind, tree::EntryKind},
    odb::HeaderExt,
};
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    rc::Rc,
};

/// Packs the tree and gives the author's date, in seconds since 1970.
pub(crate) fn pack(
    objects: &Objects,
    commit: ObjectId,
    wanted: &Wanted,
    archive: &Path,
    limits: Limits,
) -> Result<(Packed, i64), Error> {
    let odb = &objects.odb;
    let kind = odb.header(commit).map_err(|_| damaged())?.kind();
    if kind != Kind::Commit {
        // A tag may lead to a tree or a file.
        return Err(wanted.not_found());
    }
    let mut buffer = Vec::new();
    let commit = odb.find_commit(&commit, &mut buffer).map_err(|_| damaged())?;
    let committed = commit.committer().ok().and_then(|who| who.time().ok()).map_or(0, |time| time.seconds);
    let root = commit.tree();

    let out = BufWriter::new(File::create_new(archive).map_err(Error::Scratch)?);
    let packer = Packer::new(out, limits).map_err(Error::in_repository)?;
    let mut walk = Walk { objects, packer, limits, seen: 0 };
    walk.tree(root)?;
    let (packed, mut out) = walk.packer.finish().map_err(Error::in_repository)?;
    out.flush().map_err(Error::Scratch)?;
    Ok((packed, committed))
}

fn damaged() -> Error {
    Error::RepositoryRefused("the server did not send all of it, or it is damaged".into())
}

/// Linux's limit.
const LONGEST_NAME: usize = 255;

struct Walk<'a, W: Write> {
    objects: &'a Objects,
    packer: Packer<W>,
    limits: Limits,
    /// Entries of any kind. A tree of a few objects can name itself again and again, and so have billions of paths.
    seen: u64,
}

struct Entry {
    /// Shared: a million entries of a folder with a long path would not fit into memory with a copy each.
    parent: Rc<[u8]>,
    name: Vec<u8>,
    kind: EntryKind,
    id: ObjectId,
}

impl Entry {
    fn path(&self) -> Vec<u8> {
        if self.parent.is_empty() { self.name.clone() } else { [&self.parent, b"/".as_slice(), &self.name].concat() }
    }
}

impl<W: Write> Walk<'_, W> {
    /// Depth first: git orders a tree so that this gives whole paths in order.
    fn tree(&mut self, root: ObjectId) -> Result<(), Error> {
        let mut pending = self.entries(Rc::default(), root)?;
        pending.reverse();
        while let Some(entry) = pending.pop() {
            let raw = entry.path();
            match check_path(&raw).map_err(Error::in_repository)? {
                Checked::Root => return Err(damaged()),
                Checked::Skip(reason) => self.packer.skip(&raw, reason),
                Checked::Keep(path) => match entry.kind {
                    EntryKind::Tree => pending.extend(self.entries(raw.into(), entry.id)?.into_iter().rev()),
                    EntryKind::Blob => self.file(&path, false, entry.id)?,
                    EntryKind::BlobExecutable => self.file(&path, true, entry.id)?,
                    EntryKind::Link => self.packer.skip(&raw, SkipReason::Symlink),
                    EntryKind::Commit => self.packer.skip(&raw, SkipReason::Submodule),
                },
            }
        }
        Ok(())
    }

    fn entries(&mut self, parent: Rc<[u8]>, tree: ObjectId) -> Result<Vec<Entry>, Error> {
        let mut buffer = Vec::new();
        let mut entries = Vec::new();
        for entry in self.objects.odb.find_tree_iter(&tree, &mut buffer).map_err(|_| damaged())? {
            let entry = entry.map_err(|_| damaged())?;
            self.seen += 1;
            if self.seen > self.limits.entries {
                let limit = self.limits.entries;
                return Err(Error::in_repository(dunlin_snapshot::SnapshotError::TooManyFiles { limit }));
            }
            let name: &[u8] = entry.filename;
            // Git refuses to make these; a forged tree has them.
            if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') {
                return Err(Error::RepositoryRefused("a folder of it has an entry that git does not allow".into()));
            }
            // Before it waits with a million others; the path would be refused later all the same.
            if name.len() > LONGEST_NAME {
                return Err(Error::RepositoryRefused("a folder of it has a name that is too long".into()));
            }
            let (name, kind, id) = (name.to_vec(), entry.mode.kind(), entry.oid.to_owned());
            entries.push(Entry { parent: Rc::clone(&parent), name, kind, id });
        }
        Ok(entries)
    }

    fn file(&mut self, path: &str, executable: bool, id: ObjectId) -> Result<(), Error> {
        let odb = &self.objects.odb;
        let Some(header) = gix::odb::Header::try_header(odb, &id).map_err(|_| damaged())? else {
            if self.objects.filtered {
                self.packer.skip(path.as_bytes(), SkipReason::TooLarge);
                return Ok(());
            }
            return Err(damaged());
        };
        if header.size() > self.limits.file_bytes {
            self.packer.skip(path.as_bytes(), SkipReason::TooLarge);
            return Ok(());
        }
        let mut buffer = Vec::new();
        let blob = odb.find_blob(&id, &mut buffer).map_err(|_| damaged())?;
        self.packer.add(path, executable, blob.data.len() as u64, blob.data).map_err(Error::in_repository)
    }
}
