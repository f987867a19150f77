//! Helpers shared by the contract, integration and end-to-end tests.
