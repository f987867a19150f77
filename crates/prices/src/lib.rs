//! Batches of prices and places, read: what a file is, where its rows are, what is wrong with them.
//!
//! Pure code: bytes are pushed in, ready-made rows for `COPY` come out. No AWS, no Postgres, no clock, and memory that does not
//! grow with the file.

mod cells;
mod copy;
mod decode;
mod frame;
mod header;
mod inspect;
mod json;
mod output;
mod parquet;
mod places;
mod ports;
mod prices;
pub mod report;
mod source;
mod split;
mod value;

pub use copy::{COPY_COLUMNS, COPY_HEADER, COPY_ROW_BYTES, COPY_TRAILER};
pub use inspect::{Inspection, Inspector, MAX_RANGES, RANGE_BYTES};
pub use output::{FULL_BAD, FULL_COPY, Output};
pub use parquet::{MAX_FOOTER, MAX_PAGE, ParquetReader, ReadAt, inspect_parquet, inspect_parquet_in};
pub use places::{FULL_ROWS, PlaceOutput, PlaceReader, PortRow, RegionRow};
pub use ports::{CODE_BYTES, PortTable};
pub use prices::PriceReader;
pub use split::MAX_RECORD;
