//! Helpers shared by the contract and end-to-end tests: the running stack, its API, and engines that misbehave on demand.

pub mod api;
pub mod cloud;
pub mod engines;
pub mod receiver;
pub mod wait;
