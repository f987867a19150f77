-- A scan may write 200,000 rows into each of three tables in one statement. A foreign key asks about every row by itself, which took longer
-- than writing the rows. These keys are held by triggers that ask once a statement, about all of its rows together.

alter table findings drop constraint findings_tenant_repository_id_fkey;
alter table findings drop constraint findings_tenant_first_seen_scan_fkey;
alter table finding_events drop constraint finding_events_tenant_finding_id_fkey;
alter table scan_findings drop constraint scan_findings_tenant_scan_id_fkey;
alter table scan_findings drop constraint scan_findings_tenant_finding_id_fkey;
alter table scan_findings drop constraint scan_findings_tenant_rule_id_fkey;

create function findings_have_keys() returns trigger language plpgsql as $$
begin
    if exists (select from (select distinct tenant, repository_id from added) a
               where not exists (select from repositories r where r.tenant = a.tenant and r.id = a.repository_id))
       or exists (select from (select distinct tenant, first_seen_scan from added) a
                  where not exists (select from scans s where s.tenant = a.tenant and s.id = a.first_seen_scan)) then
        raise foreign_key_violation using message = 'a finding names a repository or a scan that its tenant does not have';
    end if;
    return null;
end $$;
create trigger findings_have_keys after insert on findings
    referencing new table as added for each statement execute function findings_have_keys();

create function finding_events_have_keys() returns trigger language plpgsql as $$
begin
    if exists (select from added a
               where not exists (select from findings f where f.tenant = a.tenant and f.id = a.finding_id)) then
        raise foreign_key_violation using message = 'an event names a finding that its tenant does not have';
    end if;
    return null;
end $$;
create trigger finding_events_have_keys after insert on finding_events
    referencing new table as added for each statement execute function finding_events_have_keys();

create function scan_findings_have_keys() returns trigger language plpgsql as $$
begin
    if exists (select from (select distinct tenant, scan_id from added) a
               where not exists (select from scans s where s.tenant = a.tenant and s.id = a.scan_id))
       or exists (select from (select distinct tenant, rule_id from added) a
                  where not exists (select from rules r where r.tenant = a.tenant and r.id = a.rule_id))
       or exists (select from added a
                  where not exists (select from findings f where f.tenant = a.tenant and f.id = a.finding_id)) then
        raise foreign_key_violation using message = 'what a scan saw names a scan, a rule or a finding that its tenant does not have';
    end if;
    return null;
end $$;
create trigger scan_findings_have_keys after insert on scan_findings
    referencing new table as added for each statement execute function scan_findings_have_keys();

-- What hangs on a scan or a finding goes with it, as before.
create function scans_take_what_they_saw() returns trigger language plpgsql as $$
begin
    if exists (select from findings f join gone g on f.tenant = g.tenant and f.first_seen_scan = g.id) then
        raise foreign_key_violation using message = 'a scan that first saw a finding cannot be deleted before the finding';
    end if;
    delete from scan_findings sf using gone g where sf.tenant = g.tenant and sf.scan_id = g.id;
    return null;
end $$;
create trigger scans_take_what_they_saw after delete on scans
    referencing old table as gone for each statement execute function scans_take_what_they_saw();

create function findings_take_what_hangs_on_them() returns trigger language plpgsql as $$
begin
    delete from finding_events e using gone g where e.tenant = g.tenant and e.finding_id = g.id;
    delete from scan_findings sf using gone g where sf.tenant = g.tenant and sf.finding_id = g.id;
    return null;
end $$;
create trigger findings_take_what_hangs_on_them after delete on findings
    referencing old table as gone for each statement execute function findings_take_what_hangs_on_them();

-- One index instead of two: rows of a scan are found by the indexes of the API's orders, those of a finding by the key.
alter table scan_findings drop constraint scan_findings_pkey;
drop index scan_findings_of_finding;
alter table scan_findings add primary key (finding_id, scan_id);

alter table finding_events drop constraint finding_events_tenant_finding_id_scan_id_kind_key;
alter table finding_events add unique (finding_id, scan_id, kind);
