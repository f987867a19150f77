-- What a branch pointed to when it was looked up last decides. Dates of commits order nothing: a rebased commit keeps its old one.
alter table scans add column resolved_at timestamptz;
update scans set resolved_at = accepted_at where committed_at is not null;
drop index scans_by_commit;
drop index scans_by_track;
create index scans_by_resolution on scans (tenant, repository_id, resolved_at desc nulls last, accepted_at desc, id desc);
create index scans_by_track on scans (tenant, repository_id, track, resolved_at desc, accepted_at desc, id desc)
    where state in ('complete', 'partial');
comment on column scans.decided is 'the latest look at the track decides what is open: false when a later one had been aggregated before this one';
