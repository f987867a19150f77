-- The latest scan of a repository is the latest with a result, or else the latest without one: an index for each question, because
-- an order that begins with an expression fits none. `scans_by_resolution` answered neither.
drop index scans_by_resolution;
create index scans_latest_with_result on scans (tenant, repository_id, resolved_at desc nulls last, accepted_at desc, id desc)
    where state in ('complete', 'partial');
create index scans_latest_without_result on scans (tenant, repository_id, resolved_at desc nulls last, accepted_at desc, id desc)
    where state in ('failed', 'cancelled');
-- Pages of repositories go by bytes, whatever the collation of the database is.
create index repositories_by_name on repositories (tenant, name collate "C");
