create table rules (
    tenant       text      not null references tenants,
    -- `<engine>/<the engine's own rule id>`
    id           text      not null,
    engine       text      not null,
    name         text      not null,
    description  text,
    help_url     text,
    cwe          integer[] not null default '{}',
    -- Rank of the severity: 0 info, 1 low, 2 medium, 3 high, 4 critical.
    severity     smallint  not null check (severity between 0 and 4),
    confidence   text      not null check (confidence in ('low', 'medium', 'high')),
    primary key (tenant, id)
);

-- A finding lives as long as its repository; what one scan saw of it is in scan_findings.
create table findings (
    id               uuid        primary key default gen_random_uuid(),
    tenant           text        not null,
    repository_id    uuid        not null,
    track            text        not null,
    rule_id          text        not null,
    engine           text        not null,
    fingerprint      text        not null,
    -- The same code twice in one file gives one fingerprint twice; counted from 1 in the order of lines.
    occurrence       integer     not null default 1,
    content_key      text        not null,
    state            text        not null check (state in ('open', 'fixed', 'reopened', 'false_positive', 'accepted', 'duplicate')),
    -- Seen by the scan that decided last.
    present          boolean     not null,
    -- The decision of a person. No scan writes these.
    accepted_until   timestamptz,
    duplicate_of     uuid,
    decided_by       text,
    decided_at       timestamptz,
    decision_note    text,
    first_seen_scan  uuid        not null,
    last_seen_scan   uuid        not null,
    first_seen_at    timestamptz not null,
    last_seen_at     timestamptz not null,
    unique (tenant, id),
    unique (tenant, repository_id, track, fingerprint, occurrence),
    -- Rule and last scan have no key here: both are written from a row of scan_findings, which has them, and a scan may
    -- touch 200,000 findings.
    foreign key (tenant, repository_id) references repositories (tenant, id),
    foreign key (tenant, first_seen_scan) references scans (tenant, id),
    foreign key (tenant, duplicate_of) references findings (tenant, id)
)
-- Every scan updates every finding it has seen, in columns without an index: with room on the page, no index is touched.
with (fillfactor = 80);

create index findings_open on findings (tenant, repository_id, track) where state in ('open', 'reopened');

create table finding_events (
    id          bigint      generated always as identity primary key,
    tenant      text        not null,
    finding_id  uuid        not null,
    -- None when a person did it.
    scan_id     uuid,
    kind        text        not null check (kind in ('opened', 'fixed', 'reopened', 'moved', 'decided')),
    from_state  text,
    to_state    text        not null,
    actor       text,
    note        text,
    at          timestamptz not null default now(),
    foreign key (tenant, finding_id) references findings (tenant, id) on delete cascade,
    unique (tenant, finding_id, scan_id, kind)
);

create table scan_findings (
    tenant        text     not null,
    scan_id       uuid     not null,
    finding_id    uuid     not null,
    job           integer  not null,
    rule_id       text     not null,
    engine        text     not null,
    severity      smallint not null check (severity between 0 and 4),
    confidence    text     not null check (confidence in ('low', 'medium', 'high')),
    path          text     collate "C" not null,
    start_line    integer,
    start_column  integer,
    end_line      integer,
    message       text     not null,
    snippet       text,
    fingerprint   text     not null,
    is_new        boolean  not null,
    primary key (scan_id, finding_id),
    foreign key (tenant, scan_id) references scans (tenant, id) on delete cascade,
    foreign key (tenant, finding_id) references findings (tenant, id) on delete cascade,
    foreign key (tenant, rule_id) references rules (tenant, id)
);

-- Both orders of the API's pages. A path may be longer than an index entry, so only its beginning orders.
create index scan_findings_by_severity on scan_findings
    (scan_id, severity desc, left(path, 400), coalesce(start_line, 0), finding_id);
create index scan_findings_by_path on scan_findings
    (scan_id, left(path, 400), coalesce(start_line, 0), finding_id);
create index scan_findings_of_finding on scan_findings (finding_id);

create table suppressions (
    id             uuid        primary key default gen_random_uuid(),
    tenant         text        not null references tenants,
    -- None: in every repository of the tenant.
    repository_id  uuid,
    -- Globs over the rule's id and the path; at least one of the three says what is meant.
    rule           text,
    path           text,
    fingerprint    text,
    reason         text        not null,
    created_by     text        not null,
    created_at     timestamptz not null default now(),
    expires_at     timestamptz,
    check (rule is not null or path is not null or fingerprint is not null),
    foreign key (tenant, repository_id) references repositories (tenant, id)
);

create index suppressions_by_repository on suppressions (tenant, repository_id);
