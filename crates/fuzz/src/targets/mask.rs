//! The mask over what is shown. A secret of a known shape is not there afterwards, whatever stands around it.

use dunlin_core::mask::{mask, mask_known, mask_literals, preview};

/// Put together here, so that no scanner takes it for a real one.
fn secret() -> String {
    ["AKIA", "Z7QK2M5XW4RT6PNB"].concat()
}

pub fn seeds() -> Vec<Vec<u8>> {
    [
        "aws_access_key_id = \"@\" # comment",
        "https://user:@@host/path?token=@",
        "password: 'hunter2' @\n-----BEGIN RSA @-----\nabc",
        "`@`, (@) [@] {@} \\@ ü@ü",
        "",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

/// `@` in the input stands for the secret.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let text: String = text.chars().take(4_000).collect();
    // A secret inside of a longer word is not one.
    let whole = text.split('@').all(|part| {
        let word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        !word(part.chars().next()) && !word(part.chars().next_back())
    });
    let told = text.replace('@', &secret());
    let masked = mask(&told);
    let literals = mask_literals(&told);
    // A search that has learned the secret writes it itself, also into longer words.
    if whole && !text.contains("@@") && !text.contains(&secret()) {
        for shown in [&masked, &literals] {
            assert!(!shown.contains(&secret()), "{shown:?}");
        }
    }
    assert!(masked.len() <= 10 * told.len() + 100 && literals.len() <= 10 * told.len() + 100);
    let known = mask_known(&told, [secret().as_str()]);
    assert!(!known.contains(&secret()), "{known:?}");
    assert!(preview(&told).chars().count() <= 8);
}
