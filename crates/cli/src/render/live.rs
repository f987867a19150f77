//! Progress while a scan runs: a picture on a terminal, lines elsewhere, nothing when nobody wants it.

use super::{Style, plain::Changes, scan};
use crate::{
    error::ClientError,
    follow::Watcher,
    outcome,
    terminal::Terminal,
    text::{self, clean, clean_line},
};
use dunlin_contracts::api::ScanView;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{collections::BTreeMap, time::Duration};
use uuid::Uuid;

pub struct Progress<'a> {
    terminal: &'a Terminal,
    id: Uuid,
    kind: Kind,
}

enum Kind {
    Picture(Picture),
    Lines(Changes),
    Silent,
}

impl<'a> Progress<'a> {
    pub fn new(terminal: &'a Terminal, id: Uuid, wanted: bool) -> Self {
        let kind = match (wanted, terminal.err_is_terminal) {
            (false, _) => Kind::Silent,
            (true, true) => Kind::Picture(Picture::new(terminal.err)),
            (true, false) => Kind::Lines(Changes::default()),
        };
        Self { terminal, id, kind }
    }

    /// Takes the picture away; what comes next takes its place.
    pub fn finish(self) {
        if let Kind::Picture(picture) = self.kind {
            picture.clear();
        }
    }

    fn note(&self, line: &str) {
        match &self.kind {
            Kind::Picture(picture) => picture.above(line),
            Kind::Lines(_) | Kind::Silent => self.terminal.note(line),
        }
    }
}

impl Watcher<ScanView> for Progress<'_> {
    fn changed(&mut self, scan: &ScanView) {
        match &mut self.kind {
            Kind::Picture(picture) => picture.draw(scan),
            Kind::Lines(changes) => changes.since_last(scan).iter().for_each(|line| self.terminal.note(line)),
            Kind::Silent => {}
        }
    }

    fn away(&mut self, error: &ClientError) {
        if !matches!(self.kind, Kind::Silent) {
            self.note(&format!("{}; trying again", clean_line(&error.to_string())));
        }
    }

    fn interrupted(&mut self) {
        self.note(&interrupted(self.id));
    }
}

#[cfg(target_os = "linux")]
impl dunlin_local::Watcher for Progress<'_> {
    fn changed(&mut self, scan: &ScanView) {
        Watcher::changed(self, scan);
    }

    fn tick(&mut self, scan: &ScanView) {
        // Lines tell changes, and the passing of time is none.
        if let Kind::Picture(picture) = &mut self.kind {
            picture.draw(scan);
        }
    }
}

/// What Ctrl-C does, and does not.
fn interrupted(id: Uuid) -> String {
    format!(
        "the scan goes on without you; press Ctrl-C again to leave it\n  to come back:  dunlin show {id} --follow\n  to cancel it:  dunlin cancel {id}"
    )
}

/// A line for the scan, and a line for each job.
struct Picture {
    all: MultiProgress,
    head: ProgressBar,
    jobs: BTreeMap<u32, ProgressBar>,
    style: Style,
}

impl Picture {
    fn new(style: Style) -> Self {
        let all = MultiProgress::new();
        let head = all.add(ProgressBar::new_spinner().with_style(template("{spinner} {wide_msg} {elapsed_precise}")));
        head.set_message("accepted");
        head.enable_steady_tick(Duration::from_millis(120));
        Self { all, head, jobs: BTreeMap::new(), style }
    }

    fn draw(&mut self, scan: &ScanView) {
        self.head.set_message(headline(scan));
        let width = scan.jobs.iter().map(|job| console::measure_text_width(&scan::name(job))).max().unwrap_or(0);
        for job in &scan.jobs {
            let bar = self
                .jobs
                .entry(job.job)
                .or_insert_with(|| self.all.add(ProgressBar::new_spinner().with_style(template("  {wide_msg}"))));
            let state = scan::job_state(job);
            let (mark, state) = match job.outcome.as_deref() {
                Some("assessed") => (self.style.green("✓"), state),
                Some(_) => (self.style.yellow("!"), state),
                None => (self.style.dim("·"), self.style.dim(&state)),
            };
            bar.set_message(format!("{mark} {}  {state}", super::pad(&scan::name(job), width)));
        }
    }

    fn above(&self, line: &str) {
        // Only fails when the terminal is gone, and then there is nobody to tell.
        let _ = self.all.println(line);
    }

    fn clear(self) {
        for bar in self.jobs.values() {
            bar.finish_and_clear();
        }
        self.head.finish_and_clear();
    }
}

/// The state of the scan and how far its jobs are.
fn headline(scan: &ScanView) -> String {
    let ended = scan.jobs.iter().filter(|job| job.outcome.is_some()).count() as u64;
    let what = match (outcome::has_ended(scan), scan.jobs.len() as u64) {
        (true, _) | (false, 0) => String::new(),
        (false, all) => format!(", {ended} of {} ended", text::count(all, "job")),
    };
    format!("{} {}{what}", clean(&scan.repository), clean(&scan.status))
}

pub(super) fn template(template: &str) -> ProgressStyle {
    // The templates are fixed; the default spinner serves if one of them were wrong.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// A bar for bytes on their way; hidden where there is no terminal.
pub fn transfer(terminal: &Terminal, wanted: bool, total: u64) -> ProgressBar {
    if !(wanted && terminal.err_is_terminal) {
        return ProgressBar::hidden();
    }
    ProgressBar::new(total).with_style(template("sending {wide_bar} {bytes}/{total_bytes}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample::{ended, job, scan_with};

    #[test]
    fn the_headline_counts_jobs() {
        let mut scan = scan_with("running", &[]);
        assert_eq!(headline(&scan), "github.com/acme/shop running");
        scan.jobs = vec![job(0, "ruff", "running"), ended(1, "trivy", 1)];
        assert_eq!(headline(&scan), "github.com/acme/shop running, 1 of 2 jobs ended");
    }

    #[test]
    fn the_templates_are_valid() {
        for text in
            ["{spinner} {wide_msg} {elapsed_precise}", "  {wide_msg}", "sending {wide_bar} {bytes}/{total_bytes}"]
        {
            assert!(ProgressStyle::with_template(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn an_interrupt_says_how_to_go_on() {
        insta::assert_snapshot!(interrupted(Uuid::nil()), @r#"
        the scan goes on without you; press Ctrl-C again to leave it
          to come back:  dunlin show 00000000-0000-0000-0000-000000000000 --follow
          to cancel it:  dunlin cancel 00000000-0000-0000-0000-000000000000
        "#);
    }
}
