-- What the repository's owner wrote into `.dunlin.toml`: the lowest severity that makes a check fail, as a rank. None when it is not said there.
alter table scans add column fail_on smallint check (fail_on between 0 and 4);
