-- Batches of prices. The rows of a batch are a table of its own, which becomes a partition of `prices` when they are all there and
-- right. What a reader sees is decided by the states of the batches alone, in the reader's own snapshot.

-- Places are added and changed, never deleted: the application may not delete here. So a price holds the id of a port without a
-- foreign key, which would be asked 10 million times for one batch.
create table regions (
    tenant  text  not null references tenants,
    slug    text  not null,
    name    text  not null,
    -- None for a root.
    parent  text,
    primary key (tenant, slug),
    foreign key (tenant, parent) references regions (tenant, slug)
);
create index regions_by_parent on regions (tenant, parent);

create table ports (
    id      integer  primary key generated always as identity,
    tenant  text     not null,
    code    text     not null,
    name    text     not null,
    region  text     not null,
    unique (tenant, code),
    foreign key (tenant, region) references regions (tenant, slug)
);
create index ports_by_region on ports (tenant, region);

create table price_batches (
    id            uuid         primary key,
    tenant        text         not null references tenants,
    -- What its rows carry: a quarter of the id's size. Never used again.
    number        integer      not null generated always as identity unique,
    kind          text         not null check (kind in ('prices', 'ports', 'regions')),
    state         text         not null check (state in
                                   ('loading', 'published', 'rejected', 'failed', 'duplicate', 'replaced', 'withdrawn')),
    name          text,
    sent_by       text,
    key           text         not null,
    etag          text         not null,
    bytes         bigint       not null,
    sha256        text,
    layout        jsonb,
    -- Of a published batch.
    rows          bigint,
    -- Of a batch that has ended: until then the ranges have them.
    bad_rows      bigint       not null default 0,
    faults        jsonb,
    -- As the sender said it: perhaps no batch of that name exists.
    replaces      uuid,
    replaced_by   uuid,
    same_as       uuid,
    error         text,
    trace_id      text         not null,
    received_at   timestamptz  not null,
    ended_at      timestamptz,
    withdrawn_at  timestamptz,
    withdrawn_by  text,
    first_day     date,
    last_day      date,
    unique (tenant, id),
    foreign key (tenant, replaced_by) references price_batches (tenant, id),
    foreign key (tenant, same_as) references price_batches (tenant, id),
    check ((ended_at is not null) = (state <> 'loading')),
    check ((withdrawn_at is not null) = (state = 'withdrawn')),
    check ((same_as is not null) = (state = 'duplicate')),
    check (replaced_by is null or state = 'replaced')
);
-- The same content is one batch, as long as that one lives.
create unique index price_batches_by_content on price_batches (tenant, kind, sha256) where state in ('loading', 'published');
create index price_batches_newest on price_batches (tenant, received_at desc, id desc);
create index price_batches_published on price_batches (tenant, last_day) include (first_day, number)
    where state = 'published' and kind = 'prices';

create table price_batch_ranges (
    tenant       text     not null,
    batch        uuid     not null,
    range        integer  not null check (range >= 0),
    byte_offset  bigint   not null,
    bytes        bigint   not null,
    first_line   bigint   not null,
    has_header   boolean  not null,
    loaded       boolean  not null default false,
    -- Good ones.
    rows         bigint   not null default 0,
    bad_rows     bigint   not null default 0,
    faults       jsonb,
    first_day    date,
    last_day     date,
    primary key (batch, range),
    foreign key (tenant, batch) references price_batches (tenant, id)
);

-- Grows with whatever changes an answer about rates, in the same transaction.
create table price_revisions (
    tenant    text    primary key references tenants,
    revision  bigint  not null
);

-- Rows of a batch of places, until it ends.
create table port_rows (
    batch   integer  not null,
    line    integer  not null,
    code    text     not null,
    name    text     not null,
    region  text     not null
);
create index port_rows_of_batch on port_rows (batch, code, line);

create table region_rows (
    batch   integer  not null,
    line    integer  not null,
    slug    text     not null,
    name    text     not null,
    parent  text
);
create index region_rows_of_batch on region_rows (batch, slug, line);

create table prices (
    batch  integer  not null,
    orig   integer  not null,
    dest   integer  not null,
    day    date     not null,
    -- In hundredths.
    price  bigint   not null,
    line   integer  not null
) partition by list (batch);
-- In this order an entry has no gaps, and answers a question about rates by itself. The batch is the same in all of a partition, so
-- it may stand anywhere.
create unique index prices_key on prices (orig, dest, day, batch, price);

-- Tables belong to whoever migrates; the application makes, fills and drops those of its batches through these functions and no
-- others. Each looks at the state of the batch itself.

create function price_table_make(of_batch integer) returns void language plpgsql security definer as $$
declare
    name text := 'price_rows_' || of_batch;
begin
    perform from price_batches where number = of_batch and kind = 'prices' and state = 'loading';
    if not found then
        raise exception 'batch % loads no prices', of_batch;
    end if;
    if to_regclass(name) is not null then
        return;
    end if;
    -- With the check, attaching it later reads no row. It is filled once and then only read: the first vacuum is the last, and marks
    -- every page so that the index alone answers.
    execute format(
        'create table %I (like prices, constraint %I check (batch = %s))
         with (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_freeze_min_age = 0)',
        name, name || '_batch', of_batch);
    if session_user <> current_user then
        execute format('revoke all on %I from %I', name, session_user);
        execute format('grant select, insert on %I to %I', name, session_user);
    end if;
end $$;

-- Before the only range of a batch is copied, in the same transaction: then its rows can be written as if they had been there for
-- ever, and the index alone answers from the first question on. Nothing is lost: what is not marked as loaded was never committed.
create function price_table_empty(of_batch integer) returns void language plpgsql security definer as $$
begin
    perform from price_batches b where b.number = of_batch and b.kind = 'prices' and b.state = 'loading'
        and not exists (select from price_batch_ranges r where r.batch = b.id and (r.loaded or r.range > 0));
    if not found then
        raise exception 'batch % has more than one range, or rows', of_batch;
    end if;
    execute format('truncate only %I', 'price_rows_' || of_batch);
end $$;

-- Fails with 23505 on the index of that name when a row is there twice. A second call waits for the first, and finds it done.
create function price_table_index(of_batch integer) returns void language plpgsql security definer
    set maintenance_work_mem = '256MB' set lock_timeout = '10min' as $$
declare
    name text := 'price_rows_' || of_batch;
begin
    perform from price_batches where number = of_batch and kind = 'prices' and state = 'loading';
    if not found then
        raise exception 'batch % loads no prices', of_batch;
    end if;
    execute format('lock table %I in share row exclusive mode', name);
    if to_regclass(name || '_key') is null then
        execute format('create unique index %I on %I (orig, dest, day, batch, price)', name || '_key', name);
        execute format('analyze %I', name);
    end if;
end $$;

create function price_table_attach(of_batch integer) returns void language plpgsql security definer as $$
declare
    name text := 'price_rows_' || of_batch;
begin
    perform from price_batches where number = of_batch and kind = 'prices' and state = 'loading';
    if not found then
        raise exception 'batch % loads no prices', of_batch;
    end if;
    -- Before the table is looked at: of two calls, the second sees what the first did.
    lock table only prices in share update exclusive mode;
    perform from pg_inherits where inhparent = 'prices'::regclass and inhrelid = to_regclass(name);
    if found then
        return;
    end if;
    -- Without it the index would be made here and now.
    if to_regclass(name || '_key') is null then
        raise exception 'the rows of batch % have no index', of_batch;
    end if;
    execute format('alter table prices attach partition %I for values in (%s)', name, of_batch);
    -- From now on nobody writes it.
    if session_user <> current_user then
        execute format('revoke insert, update, delete on %I from %I', name, session_user);
    end if;
end $$;

-- Only the owner can detach without a lock on `prices`, and only outside of a function. Here the lock is taken if nobody reads just
-- now; nobody is made to wait for it. Answers whether the table is apart.
create function price_table_detach(of_batch integer) returns boolean language plpgsql security definer as $$
declare
    name text := 'price_rows_' || of_batch;
begin
    perform from price_batches where number = of_batch and state not in ('loading', 'published');
    if not found then
        raise exception 'batch % has not ended', of_batch;
    end if;
    perform from pg_inherits where inhparent = 'prices'::regclass and inhrelid = to_regclass(name);
    if not found then
        return true;
    end if;
    begin
        execute format('lock table only prices, only %I in access exclusive mode nowait', name);
    exception when lock_not_available then
        return false;
    end;
    execute format('alter table prices detach partition %I', name);
    return true;
end $$;

-- Answers whether there was one.
create function price_table_drop(of_batch integer) returns boolean language plpgsql security definer as $$
declare
    name text := 'price_rows_' || of_batch;
begin
    perform from price_batches where number = of_batch and state not in ('loading', 'published');
    if not found then
        raise exception 'batch % has not ended', of_batch;
    end if;
    if to_regclass(name) is null then
        return false;
    end if;
    perform from pg_inherits where inhrelid = to_regclass(name);
    if found then
        raise exception 'the rows of batch % are part of prices', of_batch;
    end if;
    execute format('drop table if exists %I', name);
    return true;
end $$;

-- A function that runs with its owner's rights must find its tables whatever the caller's search path is, and never a temporary one.
do $$
declare
    f regprocedure;
begin
    for f in
        select oid::regprocedure from pg_proc
        where pronamespace = current_schema()::regnamespace and starts_with(proname, 'price_table_')
    loop
        execute format('alter function %s set search_path = %I, pg_temp', f, current_schema());
        execute format('revoke all on function %s from public', f);
    end loop;
end $$;
