//! `dunlin scans`.

use crate::{api::Api, args::Scans, outcome::Outcome, render, terminal::Terminal, text};
use anyhow::{Context, bail};
use dunlin_contracts::api::RepositoryView;
use dunlin_core::repository::RepositoryName;
use url::Url;
use uuid::Uuid;

pub async fn run(args: Scans, api: &Api, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let mut filters = Vec::new();
    filters.extend(args.status.map(|status| ("status", status.as_str().to_owned())));
    if let Some(wanted) = &args.repository {
        let id = match wanted.parse::<Uuid>() {
            Ok(id) => id,
            Err(_) => find(wanted, &api.repositories().await.context("the repositories cannot be listed")?)?,
        };
        filters.push(("repository_id", id.to_string()));
    }
    let scans = api.scans(&filters, args.limit as usize).await.context("the scans cannot be listed")?;
    terminal.print(&render::list::scans(&scans, terminal.out)).context("the list could not be printed")?;
    Ok(Outcome::Clean)
}

/// The repository of that name or address; or the only one whose name ends so.
fn find(wanted: &str, repositories: &[RepositoryView]) -> anyhow::Result<Uuid> {
    let canonical = Url::parse(wanted).ok().filter(Url::has_host).map(|url| RepositoryName::from_url(&url));
    let wanted = canonical.as_ref().map_or(wanted, RepositoryName::as_str);
    if let Some(exact) = repositories.iter().find(|repository| repository.name == wanted) {
        return Ok(exact.id);
    }
    let ending = format!("/{wanted}");
    let similar: Vec<_> = repositories.iter().filter(|repository| repository.name.ends_with(&ending)).collect();
    match similar.as_slice() {
        [] => bail!("no repository is called {:?}", text::clean(wanted)),
        [one] => Ok(one.id),
        many => {
            let names: Vec<_> = many.iter().map(|repository| text::clean(&repository.name)).collect();
            bail!("{} repositories are called so: {}", many.len(), names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_repository_is_found_by_as_much_of_its_name_as_is_needed() {
        let names = [
            "github.com/acme/shop",
            "github.com/acme/shop/web",
            "git.example.com/old/shop",
            "shop",
            "github.com/acme/tools",
        ];
        let repositories: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(n, name)| RepositoryView {
                id: Uuid::from_u128(n as u128),
                name: (*name).to_owned(),
                first_scanned_at: datetime!(2026-11-20 10:00 UTC),
                latest: None,
                open_findings: 0,
            })
            .collect();
        let found = |wanted: &str| {
            find(wanted, &repositories).map(|id| names[id.as_u128() as usize]).map_err(|e| e.to_string())
        };
        assert_eq!(found("https://GitHub.com/acme/shop.git").unwrap(), "github.com/acme/shop");
        assert_eq!(found("shop").unwrap(), "shop");
        assert_eq!(found("tools").unwrap(), "github.com/acme/tools");
        assert_eq!(found("acme/shop").unwrap(), "github.com/acme/shop");
        assert!(found("nothing").unwrap_err().contains("no repository is called"));
        assert!(find("shop", &repositories[..3]).unwrap_err().to_string().contains("2 repositories are called so"));
    }
}
