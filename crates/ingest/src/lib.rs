//! Batches of prices: from a file in S3 to rows that are all published, or none. The three steps of
//! `statemachines/price-batch.asl.json`, which may each come twice, at once, or be cut off anywhere:
//!
//! - [`inspect`] reads the file once and says what it is and where its ranges lie; with a small one it goes on through the other two;
//! - [`load`] takes one range in, in one transaction, and finds everything that is wrong with it;
//! - [`finish`] publishes the batch in one transaction, or rejects it with a report of every bad row.
//!
//! Memory does not grow with the file.

mod error;
mod faults;
mod file;
mod inspect;
mod load;
mod publish;

pub use error::{Error, Kind};
pub use inspect::{Limits, inspect};
pub use load::load;
pub use publish::{fail, finish};

use dunlin_contracts::{VERSION, prices::PriceBatchMessage};
use dunlin_core::keys;

/// A message of this version about a file in the tenant's own place: the input of a state must not lead anywhere else.
fn check(batch: &PriceBatchMessage) -> Result<(), Error> {
    if batch.version != VERSION {
        return Err(Error::BadInput(format!("version {} is not known here, only {VERSION}", batch.version)));
    }
    let place = format!("{}{}/{}/", keys::PRICE_BATCHES, batch.tenant, batch.kind);
    if batch.key.starts_with(&place) {
        Ok(())
    } else {
        Err(Error::BadInput(format!("{:?} is not a file of {} of {}", batch.key, batch.kind, batch.tenant)))
    }
}
