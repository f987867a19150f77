//! The cage around one engine.
//!
//! The runner starts itself again as `runner sandbox <policy> -- <program> <arguments>`. That process has one thread and a
//! clean environment; it gives up everything it can and becomes the engine. See `docs/decisions/0020-sandbox.md`.

pub mod lockdown;
pub mod paths;
pub mod policy;
pub mod remove;
mod restrict;
mod syscalls;

pub use policy::{Identity, Layers, Policy, ProcessLimits, Status};
