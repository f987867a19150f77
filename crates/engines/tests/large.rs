//! Reports of hundreds of megabytes: read in little memory, cut where nobody reads on, refused where they are too long. The peak
//! is that of the process, so all of it is one test.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![expect(clippy::print_stderr, reason = "figures for whoever asks for them")]

use dunlin_engines::{EngineManifest, ReadContext, Report, ReportError, find, read_report};
use std::{fs, io::Read, path::Path, sync::LazyLock, time::Instant};

const MIB: u64 = 1 << 20;

/// A report that nobody holds in memory: a beginning, pieces by number, an end.
struct Made<F> {
    next: Vec<u8>,
    at: usize,
    piece: u64,
    pieces: u64,
    make: F,
    end: &'static str,
    given: u64,
}

impl<F: Fn(u64) -> String> Made<F> {
    fn new(begin: &str, pieces: u64, make: F, end: &'static str) -> Self {
        Self { next: begin.as_bytes().to_vec(), at: 0, piece: 0, pieces, make, end, given: 0 }
    }
}

impl<F: Fn(u64) -> String> Read for Made<F> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        while self.at == self.next.len() {
            self.at = 0;
            self.next = match self.piece {
                n if n < self.pieces => (self.make)(n).into_bytes(),
                n if n == self.pieces => self.end.as_bytes().to_vec(),
                _ => return Ok(0),
            };
            self.piece += 1;
        }
        let n = buf.len().min(self.next.len() - self.at);
        buf[..n].copy_from_slice(&self.next[self.at..self.at + n]);
        self.at += n;
        self.given += n as u64;
        Ok(n)
    }
}

fn comma(n: u64) -> &'static str {
    if n == 0 { "" } else { "," }
}

static AT_FIRST: LazyLock<u64> = LazyLock::new(peak);

fn context() -> ReadContext<'static> {
    ReadContext { root: Path::new("/nowhere"), selected: &|path| path.starts_with("src/") }
}

/// Peak memory of this process so far, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Reads it and answers with it how much memory all that was read took at most. What needs the least comes first.
fn read(name: &str, mut made: Made<impl Fn(u64) -> String>) -> (Result<Report, ReportError>, u64, u64) {
    let engine: &EngineManifest = find("trivy").unwrap();
    let begin = Instant::now();
    let report = read_report(engine, &mut made, &context());
    let took = peak() - *AT_FIRST;
    eprintln!("{name}: {} MiB read in {:?}, {} MiB of memory", made.given / MIB, begin.elapsed(), took / MIB);
    (report, took, made.given)
}

#[test]
fn large_reports_need_little_memory() {
    let begin = r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"}},"results":["#;
    let end = "]}]}";
    // Engines and patterns are there before anything is measured.
    read_report(find("trivy").unwrap(), format!(r#"{begin}{{}}{end}"#).as_bytes(), &context()).unwrap();
    LazyLock::force(&AT_FIRST);
    let words = "x".repeat(960);
    let result = |n: u64| {
        format!(
            r#"{}{{"ruleId":"R{}","message":{{"text":"number {n} {words}"}},"locations":[{{"physicalLocation":{{"artifactLocation":{{"uri":"src/{}.tf"}},"region":{{"startLine":{}}}}}}}]}}"#,
            comma(n),
            n % 50,
            n % 1000,
            n % 5000 + 1
        )
    };
    // What nobody needs is not kept: a tree of these zeros would take four gigabytes.
    for field in ["properties", "unknown", "region", "suppressions", "rank"] {
        let open = format!(r#"{begin}{{"ruleId":"A","{field}":{{"tags":[0"#);
        let (report, memory, _) =
            read(field, Made::new(&open, 20_000, |_| ",0".repeat(500), r#"]},"message":{"text":"words"}}]}]}"#));
        match field {
            "suppressions" => assert!(matches!(report, Err(ReportError::Malformed { .. })), "{report:?}"),
            _ => assert_eq!(report.unwrap().findings.len(), 1),
        }
        assert!(memory < 20 * MIB, "{field}: {memory}");
    }

    // A message that names a long argument ten thousand times.
    let bomb = |n: u64| {
        let (template, argument) = ("{0}".repeat(10_000), "z".repeat(100_000));
        format!(r#"{}{{"ruleId":"A","message":{{"text":"{template}","arguments":["{argument}"]}}}}"#, comma(n))
    };
    let (report, memory, _) = read("a message of 1 GB", Made::new(begin, 20, bomb, end));
    let report = report.unwrap();
    assert!(report.findings.iter().all(|finding| finding.message.chars().count() == 2_000));
    assert!(memory < 20 * MIB, "{memory}");

    // One string of 100 MB: a parser would have to hold it.
    let open = format!(r#"{begin}{{"ruleId":"A","message":{{"text":""#);
    let (report, memory, _) = read("one string", Made::new(&open, 100, |_| "x".repeat(1 << 20), r#""}}]}]}"#));
    assert!(matches!(report, Err(ReportError::LongString { .. })), "{report:?}");
    assert!(memory < 200 * MIB, "{memory}");

    // 100,000 rules, each named by one result. Of them, as many are kept as the aggregator takes.
    let open = r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x","rules":["#;
    let rules = |n: u64| match n {
        n if n < 100_000 => {
            format!(
                r#"{}{{"id":"R{n}","shortDescription":{{"text":"rule {n}"}},"fullDescription":{{"text":"{}"}}}}"#,
                comma(n),
                "y".repeat(200)
            )
        }
        100_000 => r#"]}},"results":["#.to_owned(),
        n => format!(
            r#"{}{{"ruleIndex":{},"locations":[{{"physicalLocation":{{"artifactLocation":{{"uri":"src/a.tf"}},"region":{{"startLine":{n}}}}}}}]}}"#,
            comma(n - 100_001),
            n - 100_001
        ),
    };
    let (report, memory, _) = read("100,000 rules", Made::new(open, 200_001, rules, end));
    let report = report.unwrap();
    assert_eq!((report.findings.len(), report.rules.len()), (50_000, 50_000));
    assert_eq!(report.partial.as_deref(), Some("50000 results were more than are kept of one report"));
    assert!(memory < 250 * MIB, "{memory}");
    // Of few rules that are used, the many that are not do not matter.
    let few = |n: u64| match n {
        n if n <= 100_000 => rules(n),
        n => rules(n).replace(&format!("\"ruleIndex\":{}", n - 100_001), "\"ruleIndex\":99999"),
    };
    let report = read("a few of 100,000 rules", Made::new(open, 100_003, few, end)).0.unwrap();
    assert_eq!((report.findings.len(), report.rules.len(), report.partial), (2, 1, None));
    assert_eq!(report.rules[0].name, "rule 99999");

    // 230,000 results in 255 MB; trivy's reports may have 268 million bytes.
    let (report, memory, given) = read("many results", Made::new(begin, 230_000, result, end));
    let report = report.unwrap();
    assert!(given > 240 * MIB);
    let kept: usize = report.findings.iter().map(|finding| finding.message.len() + 600).sum();
    assert!((100_000..=200_000).contains(&report.findings.len()), "{}", report.findings.len());
    let dropped = 230_000 - report.findings.len();
    assert_eq!(report.partial, Some(format!("{dropped} results were more than are kept of one report")));
    assert!(memory < 3 * kept as u64, "{memory} bytes for {kept}");
    drop(report);

    // One that goes on for ever is left when it has passed the bound.
    let (report, memory, given) = read("too long", Made::new(begin, u64::MAX, result, end));
    assert!(matches!(report, Err(ReportError::TooLong { limit: 268_435_456 })), "{report:?}");
    assert!(given < 257 * MIB && memory < 500 * MIB, "{given} bytes read, {memory} bytes of memory");
}
