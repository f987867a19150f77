//! Outgoing connections to URLs that people give us: repositories and webhooks.
//!
//! Three things together keep a request out of private networks, and each of them is needed:
//!
//! 1. [`AddressPolicy::check_url`] looks at the parsed URL: scheme, user information, port, and hosts that are IP literals
//!    (the URL parser has turned every numeric trick into a literal by then). A resolver is never asked about literals.
//! 2. The client's resolver asks once, refuses the name when any of its addresses is refused, and hands the connector the
//!    very addresses it has checked. DNS cannot change its answer in between.
//! 3. The client follows no redirect and knows no proxy. [`Egress::send`] is one hop; whoever follows a redirect sends
//!    again, and the new URL is checked like the first.

mod address;
mod client;
mod resolver;

pub use address::{AddressPolicy, BadAllowance, Refused, is_public};
pub use client::{Egress, EgressError, Timeouts, redirect_target};
pub use resolver::{Lookup, SystemLookup};
