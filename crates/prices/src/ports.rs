//! Codes of ports to the numbers that the database knows them by.

use rustc_hash::FxHashMap;

/// Bytes of a code (UN/LOCODE).
pub const CODE_BYTES: usize = 5;

/// All ports of a tenant. About 12 bytes for each.
#[derive(Debug, Default)]
pub struct PortTable {
    ids: FxHashMap<u64, i32>,
}

impl PortTable {
    pub fn new() -> Self {
        Self::default()
    }

    /// What is no code is left out: no row could name it.
    pub fn insert(&mut self, code: &str, id: i32) {
        if is_code(code.as_bytes())
            && let Some(packed) = pack(code.as_bytes())
        {
            self.ids.insert(packed, id);
        }
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// None for anything that is not exactly the code of a port.
    #[inline]
    pub fn get(&self, code: &[u8]) -> Option<i32> {
        self.ids.get(&pack(code)?).copied()
    }
}

/// Five upper-case letters or digits of ASCII.
pub fn is_code(text: &[u8]) -> bool {
    text.len() == CODE_BYTES && text.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

#[inline]
fn pack(code: &[u8]) -> Option<u64> {
    let &[a, b, c, d, e] = code else { return None };
    Some(u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_code_is_found() {
        let mut ports = PortTable::new();
        ports.insert("DEHAM", 7);
        ports.insert("deham", 8);
        ports.insert("DEHAMX", 9);
        assert_eq!((ports.len(), ports.get(b"DEHAM")), (1, Some(7)));
        for other in ["DEHA", "DEHAMX", "deham", "", "DEHA\0"] {
            assert_eq!(ports.get(other.as_bytes()), None, "{other:?}");
        }
    }
}
