pub mod archive;
pub mod config;
pub mod manifests;
pub mod mask;
pub mod prices;
pub mod report;
pub mod writers;
