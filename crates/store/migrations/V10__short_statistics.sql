-- Statistics of a sample of 3,000 rows instead of 30,000: the index is the only way that a question about rates takes, and a small
-- batch is published in half the time.
alter function price_table_index(integer) set default_statistics_target = 10;
