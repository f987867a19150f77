//! Snapshots: what a scan reads. Packing (deterministic `tar.zst` and a list of files), reading uploads that may be hostile,
//! and unpacking what a job may see.
//!
//! Nothing here touches the network, and no name from an archive or a repository reaches the file system before it was
//! checked component by component.

mod archive;
mod error;
mod language;
mod limits;
mod list;
mod listing;
mod pack;
mod path;
mod unpack;
mod upload;
mod worktree;

pub use error::SnapshotError;
pub use language::language;
pub use limits::Limits;
pub use list::{read_files_list, write_files_list};
pub use listing::{Listed, Listing};
pub use pack::{Packed, Packer};
pub use path::{Checked, check_path};
pub use unpack::{Unpacked, unpack_selected};
pub use upload::repack_upload;
pub use worktree::{Found, clean_paths, is_executable, look_at, pack_working_tree, read_file};
