//! Whatever a file holds: cut into ranges, pieces or compressed, it is the same rows and the same faults.

use crate::common::{pack, read_ranges, read_whole};
use dunlin_core::prices::Compression;
use proptest::{collection::vec, prelude::*};

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => Just(b"DEHAM".to_vec()),
        3 => Just(b"2026-01-02".to_vec()),
        3 => Just(b"12.50".to_vec()),
        1 => Just(b"\"NLRTM\"".to_vec()),
        1 => Just(b"\"a\nb\r\n\"\"c\"".to_vec()),
        1 => Just(b"\"".to_vec()),
        1 => Just(Vec::new()),
        1 => vec(prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'), Just(b'1'), any::<u8>()], 0..6),
    ]
}

fn row() -> impl Strategy<Value = Vec<u8>> {
    let good = Just(b"DEHAM,NLRTM,2026-01-02,12.50".to_vec());
    let any = vec(value(), 0..6).prop_map(|values| values.join(&b','));
    let end = prop_oneof![4 => Just(&b"\n"[..]), 2 => Just(&b"\r\n"[..]), 1 => Just(&b"\n\n"[..]), 1 => Just(&b"\n\r\n\r"[..])];
    (prop_oneof![good, any], end).prop_map(|(row, end)| [&row, end].concat())
}

fn file() -> impl Strategy<Value = Vec<u8>> {
    let header = prop_oneof![
        Just(&b"orig_code,dest_code,day,price\n"[..]),
        Just(&b"\xef\xbb\xbf\r\norig_code,\"dest_code\",day,price\r\n"[..]),
    ];
    (header, vec(row(), 0..40), vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'"'), Just(b'x')], 0..4))
        .prop_map(|(header, rows, end)| [header, &rows.concat(), &end].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ranges_and_pieces_change_nothing(file in file(), piece in 1_usize..70, range_bytes in 1_u64..300) {
        let Ok(found) = read_whole(&file, 1 << 20) else {
            // The file as a whole is bad, in whatever pieces.
            prop_assert!(read_ranges(&file, piece, range_bytes).is_err());
            return Ok(());
        };
        prop_assert_eq!(&read_whole(&file, piece).unwrap(), &found);
        prop_assert_eq!(&read_ranges(&file, piece, range_bytes).unwrap(), &found);
        for compression in [Compression::Gzip, Compression::Zstd] {
            prop_assert_eq!(&read_whole(&pack(compression, &file), piece).unwrap(), &found);
        }
    }

    #[test]
    fn lines_of_json_too(lines in vec(prop_oneof![
        Just(&b"{\"orig_code\":\"DEHAM\",\"dest_code\":\"NLRTM\",\"day\":\"2026-01-02\",\"price\":1}\n"[..]),
        Just(&b"\n"[..]), Just(&b"\r\n"[..]), Just(&b"\"\n"[..]), Just(&b"{\"price\":\n"[..]), Just(&b"\xff\r"[..]),
    ], 0..60), piece in 1_usize..70, range_bytes in 1_u64..300) {
        let file = [&b"{\"note\":1}\n"[..], &lines.concat()].concat();
        let found = read_whole(&file, 1 << 20).unwrap();
        prop_assert_eq!(&read_ranges(&file, piece, range_bytes).unwrap(), &found);
        prop_assert_eq!(&read_whole(&pack(Compression::Gzip, &file), piece).unwrap(), &found);
    }
}
