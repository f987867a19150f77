//! `dunlin show`: a scan as it stands, or, with `--follow`, as it ends.

use super::result;
use crate::{api::Api, args::Show, outcome::Outcome, terminal::Terminal};
use anyhow::Context;

pub async fn run(args: Show, api: &Api, terminal: &Terminal) -> anyhow::Result<Outcome> {
    if args.follow {
        return result::follow_and_tell(api, args.id, &args.progress, &args.result, terminal).await;
    }
    let scan = api.scan(args.id).await.with_context(|| format!("scan {} cannot be shown", args.id))?;
    result::tell(api, &scan, &args.result, terminal).await
}
