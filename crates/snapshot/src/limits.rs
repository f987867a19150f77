/// How large a snapshot may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Files in a snapshot.
    pub files: u64,
    /// Sum of their sizes.
    pub total_bytes: u64,
    /// Sum of the lengths of their paths, which all wait in memory: 200,000 paths of the longest kind would be 700 MB.
    pub path_bytes: u64,
    /// A larger file is left out and named as such.
    pub file_bytes: u64,
    /// Entries of any kind in an upload: folders and links cost time too.
    pub entries: u64,
    /// How many times its size an upload may expand to, once it is over `ratio_free_bytes`.
    pub ratio: u64,
    pub ratio_free_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            files: 200_000,
            total_bytes: 2 << 30,
            path_bytes: 64 << 20,
            file_bytes: 50 << 20,
            entries: 1_000_000,
            ratio: 200,
            ratio_free_bytes: 64 << 20,
        }
    }
}
