//! The program itself, in an image that lacks what it needs.

use std::process::Command;

/// An image without root certificates would otherwise end in a panic, with no word about what to mend.
#[test]
fn an_image_without_root_certificates_is_named_as_the_reason() {
    let output = Command::new(env!("CARGO_BIN_EXE_runner"))
        .arg("batch")
        .env_clear()
        .envs([("SSL_CERT_FILE", "/dev/null"), ("SSL_CERT_DIR", "/nonexistent")])
        .envs([("DUNLIN_TICKET_URL", "https://storage.example/ticket"), ("DUNLIN_TRACE_ID", "t")])
        .envs([("DUNLIN_SCAN_ID", "01980000-0000-7000-8000-000000000001"), ("DUNLIN_JOB", "0")])
        .env("DUNLIN_MEMORY_MIB", "512")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(64), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("storage cannot be reached over tls") && said.contains("No CA certificates"), "{said}");
}
