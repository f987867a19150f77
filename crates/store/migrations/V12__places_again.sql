-- The same content is one batch while that one is being loaded; of prices, also as long as it is published. A batch of ports or regions
-- that is published may have been overwritten since, so its file can be sent again.
drop index price_batches_by_content;
create unique index price_batches_by_content on price_batches (tenant, kind, sha256)
    where state = 'loading' or (state = 'published' and kind = 'prices');
