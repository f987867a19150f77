-- Engines that were allowed to run and had no file left that they read: they have no job, and what they had found is gone.
alter table scans add column nothing_to_read text[] not null default '{}';
