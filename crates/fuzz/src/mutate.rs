//! Mutations. The same number gives the same mutation, so a failure can be had again.

use serde_json::Value;
use std::io::{Read, Write};

/// What an input is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Text,
    /// JSON after so many bytes of something else.
    Json(usize),
    /// Tar, plain or compressed.
    Tar,
}

/// No input grows beyond this.
pub const MAX_BYTES: usize = 256 << 10;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Random(u64);

impl Random {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// From 0 to `n` - 1; 0 when `n` is.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.next() % n as u64) as usize }
    }
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Texts that have broken programs before.
const HOSTILE: &[&str] = &[
    "",
    ".",
    "..",
    "/",
    "../",
    "../../etc/passwd",
    "/etc/passwd",
    "file:///etc/passwd",
    "file://",
    "file:",
    "%2e%2e%2f",
    "%00",
    "%",
    "%2",
    "%zz",
    "a\0b",
    "\u{feff}",
    "\u{1b}[31m",
    "\r\n",
    "\n",
    "\t",
    " ",
    "\"",
    "\\",
    "'",
    "<script>",
    "</script>",
    "<![CDATA[",
    "]]>",
    "&amp;",
    "--",
    "=1+1",
    "@a",
    "{0}",
    "{{0}}",
    "{99999999999999999999}",
    "\u{202e}",
    "\u{0}",
    "ü",
    "\u{1f600}",
    "e\u{301}",
    "\u{fffd}",
    "C:\\x",
    "CON",
    ".git",
    ".git/config",
    ".dunlin.toml",
    "-rf",
    "*",
    "**",
    "[",
    "[!a]",
    "{a,b}",
    "\\*",
    "null",
    "true",
    "-1",
    "0",
    "1",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "1e999",
    "-0",
    "0.1",
    "NaN",
    "inf",
    "CWE-79",
    "external/cwe/cwe-079",
    "security-severity",
    "error",
    "note",
    "password = ",
    "[engine.ruff]",
    "timeout_seconds = 1",
];

/// One to four mutations of `input`, at times with a piece of `other`.
pub fn mutate(shape: Shape, input: &[u8], other: &[u8], seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = match shape {
        // Half of the time the input stays what it is, and only what it says changes.
        Shape::Json(skip) if random.below(2) == 0 => json(input, other, skip, &mut random),
        Shape::Tar if random.below(4) > 0 => archive(input, &mut random),
        _ => None,
    }
    .unwrap_or_else(|| {
        let mut bytes = input.to_vec();
        for _ in 0..=random.below(4) {
            raw(&mut bytes, other, &mut random);
        }
        bytes
    });
    bytes.truncate(MAX_BYTES);
    bytes
}

fn raw(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let length = 1 + random.below(16).min(bytes.len().saturating_sub(at));
    let end = (at + length).min(bytes.len());
    match random.below(9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = random.next() as u8,
        2 => drop(bytes.drain(at..end)),
        3 => drop(bytes.splice(at..at, random.pick(HOSTILE).bytes())),
        4 => drop(bytes.splice(at..end, random.pick(HOSTILE).bytes())),
        5 => {
            let piece = bytes[at..end].to_vec();
            let times = 1 + random.below(40);
            drop(bytes.splice(at..at, piece.repeat(times)));
        }
        6 => bytes.truncate(at),
        7 => {
            let from = random.below(other.len() + 1);
            let to = (from + 1 + random.below(200)).min(other.len());
            drop(bytes.splice(at..end, other[from.min(to)..to].iter().copied()));
        }
        _ => {
            // A line of a text, twice or not at all.
            let text: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            let line = random.below(text.len());
            let mut lines = text.clone();
            if random.below(2) == 0 && !lines.is_empty() {
                lines.remove(line);
            } else if let Some(piece) = text.get(random.below(text.len())) {
                lines.insert(line, piece);
            }
            *bytes = lines.concat();
        }
    }
}

fn json(input: &[u8], other: &[u8], skip: usize, random: &mut Random) -> Option<Vec<u8>> {
    let start = input.get(..skip)?;
    let mut tree: Value = serde_json::from_slice(&input[skip..]).ok()?;
    let donor: Value = other.get(skip..).and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or(Value::Null);
    for _ in 0..=random.below(3) {
        let count = nodes(&tree);
        let wanted = random.below(count);
        let piece = nth(&donor, random.below(nodes(&donor))).clone();
        if let Some(node) = nth_mut(&mut tree, &mut { wanted }) {
            change(node, piece, random);
        }
    }
    let mut bytes = start.to_vec();
    serde_json::to_writer(&mut bytes, &tree).ok()?;
    Some(bytes)
}

fn change(node: &mut Value, piece: Value, random: &mut Random) {
    let text = |random: &mut Random| Value::String((*random.pick(HOSTILE)).to_owned());
    match (random.below(8), &mut *node) {
        (0, _) => *node = Value::Null,
        (1, Value::Array(list)) if !list.is_empty() => {
            let one = list[random.below(list.len())].clone();
            let times = random.below(20);
            list.extend(std::iter::repeat_n(one, times));
        }
        (1 | 2, Value::Object(fields)) if !fields.is_empty() => {
            let key = fields.keys().nth(random.below(fields.len())).cloned().unwrap_or_default();
            let value = fields.remove(&key).unwrap_or_default();
            if random.below(2) == 0 {
                fields.insert((*random.pick(HOSTILE)).to_owned(), value);
            }
        }
        (2 | 3, Value::Array(list)) if !list.is_empty() => drop(list.remove(random.below(list.len()))),
        (2..=4, Value::String(words)) => {
            let at =
                words.char_indices().nth(random.below(words.chars().count() + 1)).map_or(words.len(), |(at, _)| at);
            words.insert_str(at, random.pick::<&str>(HOSTILE));
            if random.below(8) == 0 && words.len() < 2000 {
                *words = words.repeat(1 + random.below(50));
            }
        }
        (2..=4, Value::Number(_)) => {
            let numbers =
                [0, 1, -1, 2, i64::from(i32::MAX), i64::from(u32::MAX), i64::MAX, i64::MIN, random.next() as i64];
            *node = (*random.pick(&numbers)).into();
        }
        (5, _) => *node = text(random),
        (6, _) => *node = Value::Array(vec![node.take(); random.below(4)]),
        _ => *node = piece,
    }
}

fn nodes(tree: &Value) -> usize {
    1 + match tree {
        Value::Array(list) => list.iter().map(nodes).sum(),
        Value::Object(fields) => fields.values().map(nodes).sum(),
        _ => 0,
    }
}

fn nth(tree: &Value, n: usize) -> &Value {
    let mut left = n;
    let mut below: Vec<&Value> = vec![tree];
    while let Some(node) = below.pop() {
        if left == 0 {
            return node;
        }
        left -= 1;
        match node {
            Value::Array(list) => below.extend(list),
            Value::Object(fields) => below.extend(fields.values()),
            _ => {}
        }
    }
    tree
}

fn nth_mut<'a>(tree: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(tree);
    }
    *left -= 1;
    match tree {
        Value::Array(list) => list.iter_mut().find_map(|node| nth_mut(node, left)),
        Value::Object(fields) => fields.values_mut().find_map(|node| nth_mut(node, left)),
        _ => None,
    }
}

/// Changes a tar below its compression, and keeps its checksums right most of the time: behind a wrong one nothing is looked at.
fn archive(input: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let zstd = input.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    let gzip = input.starts_with(&[0x1f, 0x8b]);
    let most = MAX_BYTES as u64;
    if zstd {
        zstd::Decoder::new(input).ok()?.take(most).read_to_end(&mut plain).ok()?;
    } else if gzip {
        flate2::read::GzDecoder::new(input).take(most).read_to_end(&mut plain).ok()?;
    } else {
        plain = input.to_vec();
    }
    for _ in 0..=random.below(3) {
        let blocks = plain.len() / 512;
        if blocks == 0 {
            break;
        }
        let at = 512 * random.below(blocks);
        match random.below(6) {
            // Name, mode, size, kind, link, magic, prefix: where each begins (POSIX.1-2024, ustar).
            0..=2 => {
                let field = *random.pick(&[0, 0, 0, 100, 124, 124, 156, 157, 257, 345]);
                let text = random.pick(HOSTILE).as_bytes();
                let end = (field + text.len() + 1).min(512);
                let mut bytes = [text, &[0]].concat();
                bytes.truncate(end - field);
                plain[at + field..at + end].copy_from_slice(&bytes);
            }
            3 => plain[at + 156] = *random.pick(b"0123456789xgLKSVA\0"),
            4 => drop(plain.drain(at..at + 512)),
            _ => {
                let block = plain[at..at + 512].to_vec();
                let to = 512 * random.below(blocks + 1);
                drop(plain.splice(to..to, block));
            }
        }
        if random.below(8) > 0 {
            plain.chunks_exact_mut(512).for_each(right_checksum);
        }
    }
    match random.below(6) {
        0 => Some(plain),
        1 => {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(&plain).ok()?;
            packed.finish().ok()
        }
        _ => zstd::encode_all(plain.as_slice(), 1).ok(),
    }
}

/// Of what looks like a header.
fn right_checksum(block: &mut [u8]) {
    if block[257..262] != *b"ustar" && block[148..154].iter().any(|byte| !(b'0'..=b'7').contains(byte)) {
        return;
    }
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_is_the_same_mutation() {
        let input = br#"x{"a":[1,{"b":"words"}]}"#;
        for seed in 0..200 {
            let one = mutate(Shape::Json(1), input, input, seed);
            assert_eq!(one, mutate(Shape::Json(1), input, input, seed));
            assert!(one.len() <= MAX_BYTES);
        }
        let all: std::collections::HashSet<_> =
            (0..200).map(|seed| mutate(Shape::Json(1), input, input, seed)).collect();
        assert!(all.len() > 100, "only {} different ones", all.len());
    }

    #[test]
    fn half_of_the_mutations_of_json_are_json() {
        let input = br#"x{"a":[1,{"b":"words"}]}"#;
        let whole = |seed: &u64| {
            let made = mutate(Shape::Json(1), input, input, *seed);
            made.get(1..).is_some_and(|json| serde_json::from_slice::<Value>(json).is_ok())
        };
        let readable = (0..400).filter(whole).count();
        assert!((180..380).contains(&readable), "{readable} of 400");
    }
}
