//! Dunlin's own JSON: `{"version": 1, "scan": ReportHead, "rules": [Rule], "findings": [FindingView], "count": n}`. `count` comes last,
//! so a reader knows a cut file.

use crate::{Items, ReportError, ReportHead, ReportWriter};
use dunlin_contracts::api::FindingView;
use dunlin_core::finding::Rule;
use std::io::Write;

pub struct JsonReport<W> {
    out: W,
    items: Items,
    in_findings: bool,
    count: u64,
}

impl<W: Write> JsonReport<W> {
    pub fn begin(mut out: W, head: &ReportHead) -> Result<Self, ReportError> {
        out.write_all(b"{\"version\":1,\n\"scan\":")?;
        serde_json::to_writer(&mut out, head)?;
        out.write_all(b",\n\"rules\":[")?;
        Ok(Self { out, items: Items::new(), in_findings: false, count: 0 })
    }

    fn open_findings(&mut self) -> Result<(), ReportError> {
        if !self.in_findings {
            self.out.write_all(b"],\n\"findings\":[")?;
            self.items = Items::new();
            self.in_findings = true;
        }
        Ok(())
    }
}

impl<W: Write> ReportWriter for JsonReport<W> {
    fn rule(&mut self, rule: &Rule) -> Result<(), ReportError> {
        self.items.write(&mut self.out, rule)
    }

    fn finding(&mut self, finding: &FindingView) -> Result<(), ReportError> {
        self.open_findings()?;
        self.count += 1;
        self.items.write(&mut self.out, finding)
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        self.open_findings()?;
        writeln!(self.out, "],\n\"count\":{}}}", self.count)?;
        Ok(self.out.flush()?)
    }
}
