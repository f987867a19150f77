//! How much of a report is kept, whatever is in it. A runner has as little as 1 GiB of memory, and the whole of a scan's findings
//! is written for people.

/// Of a finding's message and a rule's description.
pub(super) const MESSAGE_CHARS: usize = 2_000;
/// Of a message before the line that people need is taken out of it.
pub(super) const RAW_MESSAGE_CHARS: usize = 64_000;
/// Of one string of a report. Engines that put whole files into their report have files of up to 50 MiB.
pub(super) const STRING_BYTES: usize = 64 << 20;

/// Results of one report. The largest that was seen of a real repository has 20,000.
const RESULTS: u64 = 200_000;
/// Of all texts of all results together.
const BYTES: usize = 128 << 20;
/// Rules that findings use. The aggregator takes no more of one job.
pub(super) const RULES: usize = 50_000;

/// What was kept, and what was not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kept {
    results: u64,
    bytes: usize,
    /// Results that were counted and dropped.
    pub beyond: u64,
}

impl Kept {
    pub fn is_full(&self) -> bool {
        self.results >= RESULTS || self.bytes >= BYTES
    }

    /// Whether a result with so much text still has room.
    pub fn take(&mut self, bytes: usize) -> bool {
        let room = !self.is_full() && self.bytes + bytes <= BYTES;
        if room {
            self.results += 1;
            self.bytes += bytes;
        } else {
            self.beyond += 1;
        }
        room
    }
}
