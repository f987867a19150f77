-- Columns by name and not like those of `prices`, which would be locked until the transaction ends: one that also copies the rows of a
-- large file takes long, and nobody could take a table out of `prices` meanwhile.
create or replace function price_table_make(of_batch integer) returns void language plpgsql security definer as $$
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
        'create table %I (
             batch integer not null, orig integer not null, dest integer not null, day date not null, price bigint not null,
             line integer not null, constraint %I check (batch = %s)
         ) with (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_freeze_min_age = 0)',
        name, name || '_batch', of_batch);
    if session_user <> current_user then
        execute format('revoke all on %I from %I', name, session_user);
        execute format('grant select, insert on %I to %I', name, session_user);
    end if;
end $$;

-- The table of a batch with one range is made by whoever copies that range, in the same transaction: there is nothing to empty, and a
-- small batch has one table made instead of one made and one thrown away. One that an earlier version made is emptied as before.
create or replace function price_table_empty(of_batch integer) returns void language plpgsql security definer as $$
begin
    perform from price_batches b where b.number = of_batch and b.kind = 'prices' and b.state = 'loading'
        and not exists (select from price_batch_ranges r where r.batch = b.id and (r.loaded or r.range > 0));
    if not found then
        raise exception 'batch % has more than one range, or rows', of_batch;
    end if;
    if to_regclass('price_rows_' || of_batch) is null then
        perform price_table_make(of_batch);
    else
        execute format('truncate only %I', 'price_rows_' || of_batch);
    end if;
end $$;

-- Statistics of a table that is read in milliseconds however it is read can wait for the server, which makes them within a minute; the
-- index has counted rows and pages.
create or replace function price_table_index(of_batch integer) returns void language plpgsql security definer
    set maintenance_work_mem = '256MB' set lock_timeout = '10min' set default_statistics_target = 10 as $$
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
        perform from pg_class where oid = to_regclass(name) and reltuples > 50000;
        if found then
            execute format('analyze %I', name);
        end if;
    end if;
end $$;

-- What a function is replaced by has no settings of the one before.
do $$
declare
    f text;
begin
    foreach f in array '{price_table_make,price_table_empty,price_table_index}'::text[] loop
        execute format('alter function %I(integer) set search_path = %I, pg_temp', f, current_schema());
    end loop;
end $$;
