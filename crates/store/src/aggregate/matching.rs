//! Which finding of today is which finding of yesterday.

use super::Aggregation;
use crate::{StoreError, values::text};
use tokio_postgres::Transaction;

pub(super) struct Matched {
    /// No later look at this track has a result.
    pub decides: bool,
    /// Findings that this scan closed.
    pub fixed: u64,
}

/// Scans of one line of history are matched one after the other.
pub(super) async fn lock_track(tx: &Transaction<'_>, input: &Aggregation<'_>) -> Result<(), StoreError> {
    let name = format!("track/{}/{}/{}", input.scan.tenant, input.scan.repository_id, input.snapshot.track);
    // Everything was loaded for this, and the other aggregation takes its time: only the statement's own bound ends the wait.
    tx.batch_execute("set local lock_timeout = 0").await?;
    tx.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", &[&text(&name)]).await?;
    tx.batch_execute("set local lock_timeout to default").await?;
    Ok(())
}

pub(super) async fn apply(tx: &Transaction<'_>, input: &Aggregation<'_>) -> Result<Matched, StoreError> {
    let tenant = input.scan.tenant.as_str();
    let repository = input.scan.repository_id.as_uuid();
    let scan = input.scan.scan_id.as_uuid();
    let track = text(&input.snapshot.track);
    let seers = input.plan.engines_that_saw_everything(input.jobs);

    let later = later_looks(tx, input).await?;

    let seen_before = is_seen_before(tx, input).await?;
    find_the_same(tx, input).await?;

    // The same code in a renamed file, when there is one candidate on either side. With more, they stay apart: a guess could
    // carry a person's decision to a finding that nobody has judged.
    if seen_before {
        tx.execute(
            "with today as (
             select content_key, min(n) as n from matches
             where is_new and engine = any($4) group by content_key having count(*) = 1
         ), yesterday as (
             select f.content_key, min(f.id::text)::uuid as id from findings f
             where f.tenant = $1 and f.repository_id = $2 and f.track = $3 and f.present and f.engine = any($4)
               and not exists (select from matches m where m.finding_id = f.id)
             group by f.content_key having count(*) = 1
         )
         update matches m set finding_id = yesterday.id, is_new = false, moved = true
         from today join yesterday using (content_key) where m.n = today.n",
            &[&tenant, &repository, &track, &seers],
        )
        .await?;
    }

    // Everything else was never seen before. When a later look by the same engine is without it, it is gone.
    let gone_already = &later.saw_everything;
    tx.execute(
        "insert into findings (id, tenant, repository_id, track, rule_id, engine, fingerprint, occurrence, content_key,
                               state, present, first_seen_scan, last_seen_scan, first_seen_at, last_seen_at)
         select finding_id, $1, $2, $3, rule_id, engine, fingerprint, occurrence, content_key,
                case when engine = any($5) then 'fixed' else 'open' end, not engine = any($5), $4, $4, now(), now()
         from matches where is_new",
        &[&tenant, &repository, &track, &scan, gone_already],
    )
    .await?;
    tx.execute(
        "insert into finding_events (tenant, finding_id, scan_id, kind, from_state, to_state)
         select $1, finding_id, $2, 'opened', null, case when engine = any($3) then 'fixed' else 'open' end
         from matches where is_new",
        &[&tenant, &scan, gone_already],
    )
    .await?;

    let mut fixed = 0;
    if seen_before {
        reopen_and_move(tx, tenant, scan, &later).await?;
        let deciding: Vec<_> = seers.into_iter().filter(|engine| !later.looked.contains(engine)).collect();
        fixed = close(tx, input, &deciding).await?;
    }

    tx.execute(
        "insert into scan_findings (tenant, scan_id, finding_id, job, rule_id, engine, severity, confidence, path, start_line,
                                    start_column, end_line, message, snippet, fingerprint, is_new)
         select $1, $2, m.finding_id, i.job, i.rule_id, i.engine, i.severity, i.confidence, i.path, i.start_line,
                i.start_column, i.end_line, i.message, i.snippet, i.fingerprint, m.is_new
         from matches m join incoming i using (n)",
        &[&tenant, &scan],
    )
    .await?;
    Ok(Matched { decides: !later.any, fixed })
}

/// Looks at the same track that were taken after this scan's, and have a result already. The latest look decides, not the
/// latest arrival, and for each engine by itself: a later scan may have run others.
struct Later {
    any: bool,
    /// Engines that looked at all their files in one of them: what that scan is without is gone.
    saw_everything: Vec<String>,
    /// Engines that looked at all, not necessarily everywhere.
    looked: Vec<String>,
}

/// Of two looks at the same moment, the one that was accepted last is the later one.
async fn later_looks(tx: &Transaction<'_>, input: &Aggregation<'_>) -> Result<Later, StoreError> {
    let scan = input.scan;
    let row = tx
        .query_one(
            "with later as (
                 select id, nothing_to_read from scans
                 where tenant = $1 and repository_id = $2 and track = $3 and state in ('complete', 'partial')
                   and (resolved_at, accepted_at, id) > ($4, $5, $6)
             ), ran as (
                 select j.scan_id, j.engine,
                        bool_and(j.outcome = 'assessed') and count(*) = max(j.shard_count) as everything,
                        bool_or(j.outcome in ('assessed', 'partly_assessed')) as looked
                 from later join jobs j on j.tenant = $1 and j.scan_id = later.id group by j.scan_id, j.engine
             ), engines as (
                 select engine, everything from ran where looked
                 union all
                 select n.engine, true from later, unnest(later.nothing_to_read) as n (engine)
                 where not exists (select from ran where ran.scan_id = later.id and ran.engine = n.engine)
             )
             select exists (select from later),
                    array(select distinct engine from engines where everything),
                    array(select distinct engine from engines)",
            &[
                &scan.tenant.as_str(),
                &scan.repository_id.as_uuid(),
                &text(&input.snapshot.track),
                &input.snapshot.resolved_at,
                &scan.accepted_at,
                &scan.scan_id.as_uuid(),
            ],
        )
        .await?;
    Ok(Later { any: row.get(0), saw_everything: row.get(1), looked: row.get(2) })
}

/// Whether there is any finding of this track to match with. A first scan has nothing to reopen, move or close either.
async fn is_seen_before(tx: &Transaction<'_>, input: &Aggregation<'_>) -> Result<bool, StoreError> {
    let row = tx
        .query_one(
            "select exists (select from findings where tenant = $1 and repository_id = $2 and track = $3)",
            &[&input.scan.tenant.as_str(), &input.scan.repository_id.as_uuid(), &text(&input.snapshot.track)],
        )
        .await?;
    Ok(row.get(0))
}

/// The narrow working copy of what came in: for each finding the known one at the same place with the same code, or a new id.
/// The same code twice in one file has one fingerprint: the lines tell them apart.
async fn find_the_same(tx: &Transaction<'_>, input: &Aggregation<'_>) -> Result<(), StoreError> {
    tx.batch_execute(
        "create temporary table matches (
             n bigint not null, engine text not null, rule_id text not null, fingerprint text not null,
             content_key text not null, occurrence integer not null, finding_id uuid not null, is_new boolean not null,
             moved boolean not null
         ) on commit drop;
         analyze incoming (n, fingerprint);",
    )
    .await?;
    tx.execute(
        "insert into matches
         select i.n, i.engine, i.rule_id, i.fingerprint, i.content_key, i.occurrence,
                coalesce(f.id, ($4 || lpad(to_hex(row_number() over ()), 7, '0'))::uuid), f.id is null, false
         from (select n, engine, rule_id, fingerprint, content_key,
                      (row_number() over (partition by fingerprint
                                          order by path, start_line nulls first, start_column nulls first, n))::integer as occurrence
               from incoming) i
         left join findings f on f.tenant = $1 and f.repository_id = $2 and f.track = $3
                              and f.fingerprint = i.fingerprint and f.occurrence = i.occurrence",
        &[
            &input.scan.tenant.as_str(),
            &input.scan.repository_id.as_uuid(),
            &text(&input.snapshot.track),
            &beginning_of_ids(),
        ],
    )
    .await?;
    tx.batch_execute("create index on matches (finding_id); analyze matches").await?;
    Ok(())
}

/// All but the last seven digits of a UUIDv7. New findings of one scan are numbered in these: ids that grow land next to each
/// other in every index, where random ones touch a page each.
fn beginning_of_ids() -> String {
    let mut id = uuid::Uuid::now_v7().hyphenated().to_string();
    id.truncate(29);
    id
}

/// What a later look by the same engine has not decided already.
async fn reopen_and_move(
    tx: &Transaction<'_>,
    tenant: &str,
    scan: uuid::Uuid,
    later: &Later,
) -> Result<(), StoreError> {
    // A person's decision stays. One that was made until a date has an end.
    tx.execute(
        "with back as (
             select f.id, f.state from findings f join matches m on m.finding_id = f.id
             where not m.is_new and m.engine <> all($3)
               and (f.state = 'fixed' or (f.state = 'accepted' and f.accepted_until is not null and f.accepted_until <= now()))
         ), opened as (
             update findings f set state = 'reopened' from back where f.id = back.id
         )
         insert into finding_events (tenant, finding_id, scan_id, kind, from_state, to_state)
         select $1, id, $2, 'reopened', state, 'reopened' from back",
        &[&tenant, &scan, &later.saw_everything],
    )
    .await?;
    tx.execute(
        "with moved as (
             update findings f set fingerprint = m.fingerprint, occurrence = m.occurrence
             from matches m where m.finding_id = f.id and m.moved and m.engine <> all($3) returning f.id, f.state
         )
         insert into finding_events (tenant, finding_id, scan_id, kind, from_state, to_state)
         select $1, id, $2, 'moved', state, state from moved",
        &[&tenant, &scan, &later.looked],
    )
    .await?;
    // One that a later, incomplete look has seen was seen there last.
    tx.execute(
        "update findings f set present = true, last_seen_scan = $1, last_seen_at = now()
         from matches m
         where m.finding_id = f.id and not m.is_new and m.engine <> all($2) and not (f.present and m.engine = any($3))",
        &[&scan, &later.saw_everything, &later.looked],
    )
    .await?;
    Ok(())
}

/// What engines that saw everything have not seen. Files that are not in the snapshot nobody has seen.
async fn close(tx: &Transaction<'_>, input: &Aggregation<'_>, seers: &[String]) -> Result<u64, StoreError> {
    let fixed = tx
        .execute(
            "with gone as (
                 select f.id, f.state from findings f
                 where f.tenant = $1 and f.repository_id = $2 and f.track = $3 and f.engine = any($4)
                   and (f.present or f.state in ('open', 'reopened'))
                   and not exists (select from matches m where m.finding_id = f.id)
                   and not exists (select from scan_findings s
                                   where s.finding_id = f.id and s.scan_id = f.last_seen_scan and s.path = any($6))
             ), closed as (
                 update findings f
                 set present = false, state = case when f.state in ('open', 'reopened') then 'fixed' else f.state end
                 from gone where f.id = gone.id
             )
             insert into finding_events (tenant, finding_id, scan_id, kind, from_state, to_state)
             select $1, id, $5, 'fixed', state, 'fixed' from gone where state in ('open', 'reopened')",
            &[
                &input.scan.tenant.as_str(),
                &input.scan.repository_id.as_uuid(),
                &text(&input.snapshot.track),
                &seers,
                &input.scan.scan_id.as_uuid(),
                &input.plan.unread,
            ],
        )
        .await?;
    Ok(fixed)
}
