//! What crosses a boundary of Dunlin: queue bodies, state inputs and outputs, events, API types. All are versioned, all are
//! plain data, and each has one definition: here.

pub mod api;
pub mod errors;
pub mod events;
pub mod openapi;
pub mod plan;
pub mod prices;
pub mod problem;
pub mod steps;

/// Version of every internal message. A function refuses a version it does not know, so that old messages are seen, not misread.
pub const VERSION: u32 = 1;
