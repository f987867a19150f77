//! The bad rows of a range on their way to S3: a file beside it, because all of ten million rows may be bad.

use crate::Error;
use dunlin_cloud::ObjectStore;
use dunlin_contracts::prices::PriceBatchMessage;
use dunlin_core::{keys, prices::BadRow};
use dunlin_prices::report;
use std::{
    fs::File,
    io::{BufWriter, Write},
};
use tempfile::NamedTempFile;

pub const CONTENT_TYPE: &str = "text/csv; charset=utf-8";

/// Nothing is made while no row is bad.
#[derive(Default)]
pub struct FaultFile {
    file: Option<(NamedTempFile, BufWriter<File>)>,
    line: Vec<u8>,
}

impl FaultFile {
    pub fn add(&mut self, rows: &[BadRow]) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            let file = NamedTempFile::new().map_err(Error::Scratch)?;
            let writer = BufWriter::new(file.reopen().map_err(Error::Scratch)?);
            self.file = Some((file, writer));
        }
        let Some((_, writer)) = &mut self.file else { return Ok(()) };
        for row in rows {
            self.line.clear();
            report::append(&mut self.line, row);
            writer.write_all(&self.line).map_err(Error::Scratch)?;
        }
        Ok(())
    }

    /// The same rows at the same place when the range is loaded twice.
    pub async fn store(self, objects: &dyn ObjectStore, batch: &PriceBatchMessage, range: u32) -> Result<(), Error> {
        let Some((file, mut writer)) = self.file else { return Ok(()) };
        writer.flush().map_err(Error::Scratch)?;
        let key = keys::price_batch_faults(&batch.tenant, batch.batch_id, range);
        objects.put_file(&key, file.path(), CONTENT_TYPE).await?;
        Ok(())
    }
}
