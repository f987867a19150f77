-- Findings of advisory engines count towards no threshold: the counts without them, for scans that ended before there were any.
update scans s
set summary = s.summary || jsonb_build_object('enforced_by_severity', coalesce((
    select jsonb_object_agg(case c.severity when 0 then 'info' when 1 then 'low' when 2 then 'medium' when 3 then 'high' else 'critical' end, c.findings)
    from (
        select f.severity, count(*) as findings
        from scan_findings f
        join jobs j on j.tenant = f.tenant and j.scan_id = f.scan_id and j.job = f.job
        where f.tenant = s.tenant and f.scan_id = s.id and not j.advisory
        group by f.severity
    ) c
), '{}'))
where s.summary is not null and not s.summary ? 'enforced_by_severity';
