//! `dunlin scan --local` as people start it, with engines that are small scripts.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "all of this is test code, its helpers included")]

mod cache;
mod processes;
mod scan;
mod since;
mod world;
