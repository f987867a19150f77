//! Every format from the JSON report: the same as from the scan itself.

use super::{findings, write};
use dunlin_reports::{ReportError, ReportFormat, convert};
use std::error::Error as _;

fn converted(json: &str, format: ReportFormat) -> Result<String, ReportError> {
    let mut out = Vec::new();
    convert(json.as_bytes(), format, &mut out, |_| ())?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn a_converted_report_is_the_same_as_a_written_one() {
    for state in ["complete", "partial"] {
        for count in [0, 7] {
            let json = write(ReportFormat::Json, state, &findings(count));
            for format in ReportFormat::ALL {
                assert_eq!(converted(&json, format).unwrap(), write(format, state, &findings(count)), "{format:?}");
            }
        }
    }
}

#[test]
fn the_head_can_be_completed() {
    let json = write(ReportFormat::Json, "complete", &[]);
    let mut out = Vec::new();
    convert(json.as_bytes(), ReportFormat::Html, &mut out, |head| head.duration_ms = Some(7_260_000)).unwrap();
    assert!(String::from_utf8(out).unwrap().contains("2 h 01 min"));
}

#[test]
fn a_report_that_is_not_whole_is_refused_with_the_reason() {
    let json = write(ReportFormat::Json, "complete", &findings(3));
    let cut = json.find("\"count\"").unwrap();
    for (broken, words) in [
        (json[..cut].to_owned(), "EOF"),
        (json.replace("\"count\":3", "\"count\":4"), "has 3 findings and says 4"),
        (json.replace("\"version\":1", "\"version\":2"), "version 2"),
        (json.replace("\"rules\":", "\"rulez\":"), "\"rulez\" where \"rules\""),
        ("[]".to_owned(), "expected a report"),
        (format!("{json}{json}"), "trailing"),
    ] {
        let error = converted(&broken, ReportFormat::Csv).unwrap_err();
        let cause = error.source().unwrap().to_string();
        assert!(matches!(error, ReportError::Unreadable(_)) && cause.contains(words), "{error}: {cause}");
    }
}

#[test]
fn a_failure_to_write_is_told_as_one() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let json = write(ReportFormat::Json, "complete", &findings(3));
    for format in [ReportFormat::Html, ReportFormat::Junit] {
        let error = convert(json.as_bytes(), format, Full, |_| ()).unwrap_err();
        assert!(matches!(error, ReportError::Io(_)), "{error:?}");
    }
}
