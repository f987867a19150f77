//! Scans: what was asked for, and how it stands.

use serde::{Deserialize, Serialize};

/// What people see of a scan. The last four are ends, and a scan has exactly one of them for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanState {
    Accepted,
    Running,
    /// Every engine that was planned has assessed its files.
    Complete,
    /// At least one engine did not finish, or left files out. Never green.
    Partial,
    Failed,
    Cancelled,
}

impl ScanState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Complete | Self::Partial | Self::Failed | Self::Cancelled)
    }
}
