//! A plan as the planner makes it, for this machine.

use crate::error::Error;
use dunlin_contracts::{
    VERSION,
    plan::{Plan, PlannedJob},
};
use dunlin_core::{RepositoryId, ScanId, TenantId, owner_config::OwnerConfig};
use dunlin_engines::EngineManifest;
use dunlin_snapshot::Listed;

/// Decides between Lambda and Batch, and there is neither.
const THRESHOLD_SECONDS: u32 = 120;

pub struct Names {
    pub scan: ScanId,
    pub tenant: TenantId,
    pub repository: RepositoryId,
}

pub fn make(
    names: &Names,
    listed: &Listed,
    asked: Option<&[String]>,
    owner: &OwnerConfig,
    mut warnings: Vec<String>,
) -> Result<Plan, Error> {
    let drafts = dunlin_planning::plan(dunlin_engines::catalog(), &listed.files, asked, owner, THRESHOLD_SECONDS)?;
    warnings.extend(drafts.warnings.into_iter().filter(|warning| !is_about_compute(warning)));
    let (unread, unread_more) = dunlin_planning::unread(&listed.skipped, listed.skipped_total);
    Ok(Plan {
        version: VERSION,
        scan_id: names.scan,
        tenant: names.tenant.clone(),
        repository_id: names.repository,
        revision: listed.tree_digest.clone(),
        jobs: drafts.jobs.iter().zip(0..).map(|(draft, number)| draft.planned(number, false, draft.compute)).collect(),
        nothing_to_read: drafts.nothing_to_read,
        unread,
        unread_more,
        warnings,
        fail_on: owner.fail_on,
    })
}

/// Where an engine runs in the cloud is of no interest here.
fn is_about_compute(warning: &str) -> bool {
    warning.ends_with("cannot run on lambda; it runs on batch")
}

/// The engine of a planned job: plans are made from the catalog.
pub fn engine(job: &PlannedJob) -> Option<&'static EngineManifest> {
    dunlin_engines::find(&job.engine)
}
