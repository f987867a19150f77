//! One target under libFuzzer: `FUZZ_TARGET=report fuzz <corpus>...`. Started by `make fuzz`.
#![no_main]
#![expect(clippy::panic, reason = "without a target there is nothing to do")]

use dunlin_fuzz::{Target, find, mutate};
use std::{cell::RefCell, sync::LazyLock};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    find(&name).unwrap_or_else(|| panic!("FUZZ_TARGET={name:?} is no target"))
});

thread_local! {
    /// Another input, for pieces of it.
    static OTHER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| (TARGET.run)(data));

// Half of the mutations are libFuzzer's own, which knows what a branch was compared with.
libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed % 2 == 0 {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    OTHER.with_borrow_mut(|other| {
        let mut made = mutate::mutate(TARGET.shape, &data[..size], other, u64::from(seed));
        made.truncate(max_size);
        if seed % 16 == 1 {
            *other = data[..size].to_vec();
        }
        data[..made.len()].copy_from_slice(&made);
        made.len()
    })
});
