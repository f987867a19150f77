//! What people read. Every query takes the tenant; what belongs to another one is not there.

mod cursor;
mod findings;
mod price_batches;
pub(crate) mod report;
mod repositories;
mod scans;

pub use findings::{FindingFilter, FindingSort};
pub use price_batches::PriceBatchFilter;
pub use scans::ScanFilter;

use cursor::Cursor;
use dunlin_contracts::api::Page;

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// At least 1; at most [`PageRequest::MAX_LIMIT`].
    pub limit: u32,
    /// [`Page::next_cursor`] of the page before.
    pub cursor: Option<String>,
}

impl PageRequest {
    pub const MAX_LIMIT: u32 = 200;
    /// Bytes of the longest cursor.
    pub const MAX_CURSOR: usize = cursor::MAX_LENGTH;

    pub fn first(limit: u32) -> Self {
        Self { limit, cursor: None }
    }

    fn limit(&self) -> usize {
        self.limit.clamp(1, Self::MAX_LIMIT) as usize
    }

    /// One row more than wanted tells whether there is another page.
    fn rows(&self) -> i64 {
        i64::from(self.limit.clamp(1, Self::MAX_LIMIT)) + 1
    }

    /// `items` are up to [`PageRequest::rows`] rows, each with its place in the order.
    fn page<T>(&self, mut items: Vec<(T, Cursor)>) -> Page<T> {
        let more = items.len() > self.limit();
        items.truncate(self.limit());
        let next_cursor = if more { items.last().map(|(_, cursor)| cursor.encode()) } else { None };
        Page { items: items.into_iter().map(|(item, _)| item).collect(), next_cursor }
    }
}
