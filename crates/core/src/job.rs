//! Jobs: one engine over one shard of one snapshot.

use serde::{Deserialize, Serialize};

/// Where a job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compute {
    Lambda,
    Batch,
}

impl Compute {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lambda => "lambda",
            Self::Batch => "batch",
        }
    }
}

/// One rung of the memory ladder. The pairs are Fargate's (AWS, "Fargate task sizes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    Small,
    Medium,
    Large,
    Xlarge,
}

impl Size {
    pub const LADDER: [Self; 4] = [Self::Small, Self::Medium, Self::Large, Self::Xlarge];

    pub const fn vcpu(self) -> u32 {
        match self {
            Self::Small => 1,
            Self::Medium => 2,
            Self::Large | Self::Xlarge => 4,
        }
    }

    pub const fn memory_mib(self) -> u32 {
        match self {
            Self::Small => 2048,
            Self::Medium => 4096,
            Self::Large => 8192,
            Self::Xlarge => 16384,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
            Self::Xlarge => "xlarge",
        }
    }

    /// This rung and every one above it.
    pub fn and_up(self) -> impl Iterator<Item = Self> {
        Self::LADDER.into_iter().filter(move |size| *size >= self)
    }
}

/// What people see of a job. Ordered: events arrive late and twice, and a job never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Queued,
    Starting,
    Running,
    Ended,
}

impl JobState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Ended => "ended",
        }
    }
}

/// How a job ended. Only the first two carry findings; only the first closes findings that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobOutcome {
    /// The engine finished and covered what it was given.
    Assessed,
    /// The engine finished and says that it left files out.
    PartlyAssessed,
    /// The engine crashed, refused its input or left no report.
    Failed,
    TimedOut,
    OutOfMemory,
    /// The scan was cancelled, or failed before the job had its turn.
    NotRun,
}

impl JobOutcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Assessed => "assessed",
            Self::PartlyAssessed => "partly_assessed",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::OutOfMemory => "out_of_memory",
            Self::NotRun => "not_run",
        }
    }
    pub const fn has_findings(self) -> bool {
        matches!(self, Self::Assessed | Self::PartlyAssessed)
    }
}

/// How one planned job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobResult {
    pub job: u32,
    pub outcome: JobOutcome,
    pub compute: Compute,
    /// 0 for a job whose result was known.
    pub attempts: u32,
    /// None when there is no result.
    pub findings: Option<u64>,
    pub duration_ms: Option<u64>,
    pub peak_memory_bytes: Option<u64>,
    /// Why there is no result, or what was left out.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_goes_up_in_memory() {
        let memory: Vec<_> = Size::LADDER.iter().map(|s| s.memory_mib()).collect();
        assert!(memory.windows(2).all(|w| w[0] < w[1]));
        assert_eq!(Size::Large.and_up().collect::<Vec<_>>(), [Size::Large, Size::Xlarge]);
    }
}
