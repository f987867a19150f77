//! The Landlock rules: which files the engine sees. Best effort, because Lambda's kernel may be without it.

use super::policy::Policy;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope, path_beneath_rules,
};

/// The newest version this was written against; on an older kernel the crate drops what that kernel does not know.
const VERSION: ABI = ABI::V9;
/// From this version on, a process in the domain signals none outside.
pub const SCOPES_SIGNALS: u32 = 6;

/// Restricts this thread and whatever it executes. Nothing that is not named in `policy` can be opened any more, no TCP
/// port used, no process outside signalled or traced. Answers the version in force, 0 for none.
pub fn restrict(policy: &Policy) -> Result<u32, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(VERSION))?
        .handle_access(AccessNet::from_all(VERSION))?
        .scope(Scope::from_all(VERSION))?
        .create()?
        .add_rules(path_beneath_rules(&policy.read_and_execute, read | AccessFs::Execute))?
        .add_rules(path_beneath_rules(&policy.read, read))?
        .add_rules(path_beneath_rules(&policy.write, read | writing()))?
        .add_rules(path_beneath_rules(["/dev/null", "/dev/zero", "/dev/full"], read | AccessFs::WriteFile))?
        .restrict_self()?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => 0,
        (_, LandlockStatus::Available { effective_abi, .. }) => effective_abi as u32,
        (_, _) => 0,
    })
}

/// Files, folders, links and pipes; no devices, no sockets, and nothing that was written can be executed.
fn writing() -> BitFlags<AccessFs> {
    AccessFs::WriteFile
        | AccessFs::RemoveDir
        | AccessFs::RemoveFile
        | AccessFs::MakeDir
        | AccessFs::MakeReg
        | AccessFs::MakeFifo
        | AccessFs::MakeSym
        | AccessFs::Refer
        | AccessFs::Truncate
}
