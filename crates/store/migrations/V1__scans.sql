-- Every row names its tenant, and every reference between tables includes it, so that no row can point into another organisation.

create table tenants (
    tenant      text        primary key,
    created_at  timestamptz not null default now()
);

create table repositories (
    tenant            text        not null references tenants,
    id                uuid        not null,
    name              text        not null,
    first_scanned_at  timestamptz not null,
    primary key (tenant, id),
    unique (tenant, name)
);

create table scans (
    -- Alone, because events about Batch jobs carry nothing but the scan's id.
    id             uuid        primary key,
    tenant         text        not null,
    repository_id  uuid        not null,
    state          text        not null check (state in ('accepted', 'running', 'complete', 'partial', 'failed', 'cancelled')),
    -- One sentence for people.
    reason         text,
    request        jsonb       not null,
    requested_by   text        not null,
    trace_id       text        not null,
    -- The line of history, known once the snapshot is made.
    track          text,
    revision       text,
    committed_at   timestamptz,
    warnings       text[]      not null default '{}',
    accepted_at    timestamptz not null,
    started_at     timestamptz,
    ended_at       timestamptz,
    summary        jsonb,
    -- The newest commit decides what is open: false when a newer commit had been scanned before this one was aggregated.
    decided        boolean     not null default false,
    unique (tenant, id),
    foreign key (tenant, repository_id) references repositories (tenant, id),
    check ((ended_at is not null) = (state in ('complete', 'partial', 'failed', 'cancelled')))
);

create index scans_newest on scans (tenant, accepted_at desc, id desc);
create index scans_newest_by_state on scans (tenant, state, accepted_at desc, id desc);
create index scans_newest_by_repository on scans (tenant, repository_id, accepted_at desc, id desc);
-- The newest commit of a repository, and of one of its tracks.
create index scans_by_commit on scans (tenant, repository_id, committed_at desc nulls last, accepted_at desc, id desc);
create index scans_by_track on scans (tenant, repository_id, track, committed_at desc, accepted_at desc, id desc)
    where state in ('complete', 'partial');

create table jobs (
    tenant             text     not null,
    scan_id            uuid     not null,
    job                integer  not null check (job >= 0),
    engine             text     not null,
    engine_version     text     not null,
    advisory           boolean  not null,
    cached             boolean  not null,
    state              text     not null check (state in ('queued', 'starting', 'running', 'ended')),
    outcome            text     check (outcome in ('assessed', 'partly_assessed', 'failed', 'timed_out', 'out_of_memory', 'not_run')),
    compute            text     not null check (compute in ('lambda', 'batch')),
    -- Runs begun so far; 0 before the first.
    attempt            integer  not null default 0,
    -- What late and repeated events are held against.
    progress           jsonb    not null default '{}',
    files              bigint   not null,
    findings           bigint,
    duration_ms        bigint,
    peak_memory_bytes  bigint,
    error              text,
    shard_index        integer  not null,
    shard_count        integer  not null,
    started_at         timestamptz,
    ended_at           timestamptz,
    primary key (scan_id, job),
    foreign key (tenant, scan_id) references scans (tenant, id) on delete cascade
);
