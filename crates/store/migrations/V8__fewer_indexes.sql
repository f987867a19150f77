-- A scan may write 200,000 rows into each of these: one index instead of two. Rows of a scan are found by the indexes of the API's
-- orders, those of a finding by the key.
alter table scan_findings drop constraint scan_findings_pkey;
drop index scan_findings_of_finding;
alter table scan_findings add primary key (finding_id, scan_id);

alter table finding_events drop constraint finding_events_tenant_finding_id_scan_id_kind_key;
alter table finding_events add unique (finding_id, scan_id, kind);
