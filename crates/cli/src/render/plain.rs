//! Progress as lines, where there is no terminal: one line for each change, none for its absence.

use super::scan::{job_state, name};
use crate::text::clean;
use dunlin_contracts::api::ScanView;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Changes {
    status: String,
    jobs: BTreeMap<u32, String>,
}

impl Changes {
    /// The lines that say what is different from the last time.
    pub fn since_last(&mut self, scan: &ScanView) -> Vec<String> {
        let mut lines = Vec::new();
        if self.status != scan.status {
            self.status.clone_from(&scan.status);
            lines.push(format!("scan {}: {}", scan.id, clean(&scan.status)));
        }
        for job in &scan.jobs {
            let state = job_state(job);
            if self.jobs.get(&job.job) != Some(&state) {
                lines.push(format!("{}: {state}", name(job)));
                self.jobs.insert(job.job, state);
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample::{ended, job, scan_with};
    use dunlin_contracts::api::JobView;

    #[test]
    fn only_changes_are_told() {
        let mut changes = Changes::default();
        let mut scan = scan_with("running", &[]);
        scan.jobs = vec![job(0, "ruff", "running"), JobView { cached: true, ..ended(1, "trivy", 3) }];
        let mut told = changes.since_last(&scan);
        assert!(changes.since_last(&scan).is_empty());
        scan.jobs[0] = ended(0, "ruff", 1);
        scan.status = "complete".into();
        told.extend(changes.since_last(&scan));
        assert_eq!(
            told,
            [
                "scan 01990000-0000-7000-8000-000000000001: running",
                "ruff: running, lambda",
                "trivy: known, 3 findings",
                "scan 01990000-0000-7000-8000-000000000001: complete",
                "ruff: done, 1 finding, 412 ms, lambda",
            ]
        );
    }
}
