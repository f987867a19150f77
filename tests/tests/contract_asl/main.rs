//! The state machines against the Rust types, the functions' error names, and the rules of the Amazon States Language
//! that neither Terraform nor the emulator checks.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise, in its helpers too")]

#[path = "../contract_support/mod.rs"]
mod contract_support;
mod machine;
mod price_batch;
mod rules;
mod scan;
