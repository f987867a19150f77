//! The program as people start it, against a server that plays the contract of the API, the user pool and the storage.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "all of this is test code, its helpers included")]

mod commands;
#[cfg(unix)]
mod engines;
mod mock;
mod prices;
mod results;
mod scan;
mod sign_in;
mod weak_app;
mod world;
