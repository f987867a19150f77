//! Batches of prices: how one stands, several as a table, its load as it moves; and averages.

use super::{Style, column, live::template, pad};
use crate::{
    error::ClientError,
    follow::Watcher,
    terminal::Terminal,
    text::{clean, clean_line, count, duration},
};
use dunlin_contracts::prices::{BadRowView, PriceBatchView, Rates};
use dunlin_core::prices::BatchState;
use indicatif::ProgressBar;
use std::time::Duration;
use time::macros::format_description;
use uuid::Uuid;

/// How the batch stands, with the first `shown` of its bad rows.
pub fn conclusion(batch: &PriceBatchView, shown: usize, style: Style) -> String {
    let mut lines = vec![title(batch, style)];
    match batch.status {
        BatchState::Accepted => lines.push("its file has not arrived yet".to_owned()),
        BatchState::Loading => lines.push(progress(batch)),
        BatchState::Rejected => lines.extend(rejected(batch, shown, style)),
        BatchState::Published | BatchState::Replaced | BatchState::Withdrawn => lines.extend(rows(batch)),
        BatchState::Failed | BatchState::Duplicate => {}
    }
    lines.extend(batch.withdrawn_by.as_deref().map(|who| format!("withdrawn by {}", clean(who))));
    lines.extend(batch.replaces.map(|id| format!("replaces:    {id}")));
    lines.extend(batch.replaced_by.map(|id| format!("replaced by: {id}")));
    lines.extend(batch.same_as.map(|id| format!("same as:     {id}")));
    lines.join("\n") + "\n"
}

fn title(batch: &PriceBatchView, style: Style) -> String {
    let mut title = format!("batch {} of {}", batch.id, style.bold(batch.kind.as_str()));
    if let Some(name) = &batch.name {
        title.push_str(&format!(" ({})", clean(name)));
    }
    title.push_str(&format!(": {}", style.state(batch.status.as_str())));
    if let Some(ended) = batch.ended_at {
        let took = (ended - batch.received_at).try_into().unwrap_or(Duration::ZERO);
        title.push_str(&format!(" in {}", duration(took)));
    }
    title
}

fn rows(batch: &PriceBatchView) -> Option<String> {
    let rows = count(batch.rows?, "row");
    Some(match (batch.first_day, batch.last_day) {
        (Some(first), Some(last)) if first == last => format!("{rows}, of {first}"),
        (Some(first), Some(last)) => format!("{rows}, from {first} to {last}"),
        _ => rows,
    })
}

/// What a load has done so far.
fn progress(batch: &PriceBatchView) -> String {
    let read = format!("{} read", count(batch.rows_read, "row"));
    match batch.ranges {
        0 => read,
        ranges => format!("{read}, {} of {} done", batch.ranges_read, count(ranges.into(), "range")),
    }
}

fn rejected(batch: &PriceBatchView, shown: usize, style: Style) -> Vec<String> {
    let bad = match batch.bad_rows {
        // The file as a whole is bad, and nobody has come to its rows.
        0 => "the file cannot be used, so nothing went in".to_owned(),
        n => format!("{} of {}, so none went in", style.bold(&count(n, "bad row")), batch.rows_read.max(n)),
    };
    let mut lines = vec![bad];
    let width = batch.reasons.values().map(|n| n.to_string().len()).max().unwrap_or(0);
    lines.extend(batch.reasons.iter().map(|(reason, n)| format!("  {n:>width$} {}", in_words(reason.as_str()))));
    if batch.first_bad_rows.is_empty() {
        return lines;
    }
    let heading = ["line", "column", "value", "reason"].map(str::to_owned);
    let cells: Vec<[String; 4]> =
        std::iter::once(heading).chain(batch.first_bad_rows.iter().take(shown).map(cells)).collect();
    let widths: Vec<_> = (0..3).map(|i| column(cells.iter().map(|row| row[i].as_str()), 40)).collect();
    for (number, [line, name, value, reason]) in cells.iter().enumerate() {
        let line = format!("{}  {}  {}  {reason}", pad(line, widths[0]), pad(name, widths[1]), pad(value, widths[2]));
        lines.push(if number == 0 { style.dim(&line) } else { line });
    }
    let faults: u64 = batch.reasons.values().sum();
    let more = faults.saturating_sub(cells.len() as u64 - 1);
    if more > 0 {
        lines.push(format!("and {more} more; all of them: dunlin prices show {} --bad-rows FILE", batch.id));
    }
    lines
}

fn cells(row: &BadRowView) -> [String; 4] {
    let column = row.column.as_deref().map_or_else(|| "-".to_owned(), |column| clean(column).into_owned());
    // A value with blanks around it, or none at all, is seen by its quotes.
    [row.line.to_string(), column, format!("\"{}\"", clean(&row.value)), in_words(row.reason.as_str())]
}

fn in_words(reason: &str) -> String {
    reason.replace('_', " ")
}

/// Batches as a table.
pub fn list(batches: &[PriceBatchView], style: Style) -> String {
    if batches.is_empty() {
        return "no batches\n".to_owned();
    }
    let heading = ["id", "kind", "state", "rows", "bad", "received (utc)", "name"].map(str::to_owned);
    let rows: Vec<[String; 7]> = std::iter::once(heading).chain(batches.iter().map(list_row)).collect();
    let widths: Vec<_> = (0..7).map(|i| column(rows.iter().map(|row| row[i].as_str()), 60)).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let mut cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| pad(cell, *width)).collect();
        if number > 0 {
            let padding = " ".repeat(widths[2].saturating_sub(row[2].len()));
            cells[2] = format!("{}{padding}", style.state(&row[2]));
        }
        let line = cells.join("  ");
        let line = line.trim_end();
        text.push_str(&if number == 0 { style.dim(line) } else { line.to_owned() });
        text.push('\n');
    }
    text
}

fn list_row(batch: &PriceBatchView) -> [String; 7] {
    let received = batch
        .received_at
        .to_offset(time::UtcOffset::UTC)
        .format(format_description!("[year]-[month]-[day] [hour]:[minute]"))
        .unwrap_or_default();
    // A file that was put into the storage has a place, and no name.
    let name = batch.name.as_deref().or(batch.key.as_deref()).unwrap_or("-");
    [
        batch.id.to_string(),
        batch.kind.as_str().to_owned(),
        batch.status.as_str().to_owned(),
        batch.rows.unwrap_or(batch.rows_read).to_string(),
        batch.bad_rows.to_string(),
        received,
        clean(name).into_owned(),
    ]
}

/// Averages as a table; a day without one has a dash.
pub fn rates(rates: &Rates, style: Style) -> String {
    let prices: Vec<_> = rates
        .rates
        .iter()
        .map(|rate| rate.average_price.map_or_else(|| "-".to_owned(), |p| format!("{p:.2}")))
        .collect();
    let width = column(prices.iter().map(String::as_str).chain(["average"]), 40);
    let heading = style.dim(&format!("{}  {:>width$}", pad("day", 10), "average"));
    let lines = rates.rates.iter().zip(&prices).map(|(rate, price)| format!("{}  {price:>width$}\n", rate.day));
    format!("{} to {}\n{heading}\n{}", clean(&rates.origin), clean(&rates.destination), lines.collect::<String>())
}

pub fn rates_csv(rates: &Rates) -> String {
    let price = |price: Option<f64>| price.map(|p| format!("{p:.2}")).unwrap_or_default();
    let lines = rates.rates.iter().map(|rate| format!("{},{}\n", rate.day, price(rate.average_price)));
    format!("day,average_price\n{}", lines.collect::<String>())
}

/// A load that is followed: a line that moves on a terminal, a line for each change elsewhere.
pub struct Progress<'a> {
    terminal: &'a Terminal,
    id: Uuid,
    kind: Kind,
}

enum Kind {
    Picture(ProgressBar),
    Lines(Option<BatchState>),
    Silent,
}

impl<'a> Progress<'a> {
    pub fn new(terminal: &'a Terminal, id: Uuid, wanted: bool) -> Self {
        let kind = match (wanted, terminal.err_is_terminal) {
            (false, _) => Kind::Silent,
            (true, true) => {
                let bar = ProgressBar::new_spinner().with_style(template("{spinner} {wide_msg} {elapsed_precise}"));
                bar.enable_steady_tick(Duration::from_millis(120));
                Kind::Picture(bar)
            }
            (true, false) => Kind::Lines(None),
        };
        Self { terminal, id, kind }
    }

    /// Takes the picture away; what comes next takes its place.
    pub fn finish(self) {
        if let Kind::Picture(bar) = self.kind {
            bar.finish_and_clear();
        }
    }

    fn note(&self, line: &str) {
        match &self.kind {
            Kind::Picture(bar) => bar.println(line),
            Kind::Lines(_) | Kind::Silent => self.terminal.note(line),
        }
    }
}

/// The state, and how far the load is.
fn headline(batch: &PriceBatchView) -> String {
    match batch.status {
        BatchState::Loading => format!("loading, {}", progress(batch)),
        other => other.as_str().to_owned(),
    }
}

impl Watcher<PriceBatchView> for Progress<'_> {
    fn changed(&mut self, batch: &PriceBatchView) {
        match &mut self.kind {
            Kind::Picture(bar) => bar.set_message(headline(batch)),
            Kind::Lines(last) => {
                if *last == Some(BatchState::Loading) && batch.status == BatchState::Loading {
                    self.terminal.note(&progress(batch));
                } else if *last != Some(batch.status) {
                    self.terminal.note(&format!("batch {}: {}", batch.id, headline(batch)));
                }
                *last = Some(batch.status);
            }
            Kind::Silent => {}
        }
    }

    fn away(&mut self, error: &ClientError) {
        if !matches!(self.kind, Kind::Silent) {
            self.note(&format!("{}; trying again", clean_line(&error.to_string())));
        }
    }

    fn interrupted(&mut self) {
        self.note(&format!(
            "the load goes on without you; press Ctrl-C again to leave it\n  to come back:  dunlin prices show {} --follow",
            self.id
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample::batch;
    use dunlin_contracts::prices::Rate;
    use dunlin_core::prices::{BatchKind, Reason};

    fn bad(line: u64, column: Option<&str>, value: &str, reason: Reason) -> BadRowView {
        BadRowView { line, column: column.map(str::to_owned), value: value.into(), reason }
    }

    fn rejected() -> PriceBatchView {
        PriceBatchView {
            rows_read: 1000,
            bad_rows: 13,
            reasons: [(Reason::InvalidDate, 2), (Reason::NotANumber, 12)].into(),
            first_bad_rows: vec![
                bad(7, Some("day"), "2026-02-30", Reason::InvalidDate),
                bad(7, Some("price"), " 1\x1b[2J\u{202e}", Reason::NotANumber),
                bad(1024, None, "", Reason::FieldCount),
            ],
            ..batch(BatchState::Rejected)
        }
    }

    #[test]
    fn a_published_batch() {
        let mut batch = batch(BatchState::Published);
        batch.replaces = Some(Uuid::nil());
        insta::assert_snapshot!(conclusion(&batch, 10, Style::PLAIN), @r#"
        batch 01990000-0000-7000-8000-000000000004 of prices (Q4): published in 3.4 s
        1200 rows, from 2026-01-01 to 2026-01-31
        replaces:    00000000-0000-0000-0000-000000000000
        "#);
        batch.last_day = batch.first_day;
        assert!(conclusion(&batch, 10, Style::PLAIN).contains("\n1200 rows, of 2026-01-01\n"));
        batch = PriceBatchView { kind: BatchKind::Ports, first_day: None, last_day: None, rows: Some(1), ..batch };
        assert!(conclusion(&batch, 10, Style::PLAIN).contains("\n1 row\n"));
    }

    #[test]
    fn a_rejected_batch_names_its_bad_rows_and_cannot_command_a_terminal() {
        insta::assert_snapshot!(conclusion(&rejected(), 10, Style::PLAIN), @r#"
        batch 01990000-0000-7000-8000-000000000004 of prices (Q4): rejected in 3.4 s
        13 bad rows of 1000, so none went in
           2 invalid date
          12 not a number
        line  column  value                  reason
        7     day     "2026-02-30"           invalid date
        7     price   " 1\u{1b}[2J\u{202e}"  not a number
        1024  -       ""                     field count
        and 11 more; all of them: dunlin prices show 01990000-0000-7000-8000-000000000004 --bad-rows FILE
        "#);
        let text = conclusion(&rejected(), 1, Style::PLAIN);
        assert!(text.contains("and 13 more") && !text.contains("1024"), "{text}");
        let whole = PriceBatchView {
            bad_rows: 0,
            reasons: [(Reason::Truncated, 1)].into(),
            first_bad_rows: vec![bad(900, None, "", Reason::Truncated)],
            ..rejected()
        };
        insta::assert_snapshot!(conclusion(&whole, 10, Style::PLAIN), @r#"
        batch 01990000-0000-7000-8000-000000000004 of prices (Q4): rejected in 3.4 s
        the file cannot be used, so nothing went in
          1 truncated
        line  column  value  reason
        900   -       ""     truncated
        "#);
    }

    #[test]
    fn every_other_state_is_told() {
        let text = |status| conclusion(&batch(status), 10, Style::PLAIN);
        assert!(text(BatchState::Accepted).contains("its file has not arrived yet"));
        let loading = PriceBatchView { rows_read: 500, ranges: 3, ranges_read: 1, ..batch(BatchState::Loading) };
        assert!(conclusion(&loading, 10, Style::PLAIN).contains("\n500 rows read, 1 of 3 ranges done\n"));
        assert_eq!(headline(&loading), "loading, 500 rows read, 1 of 3 ranges done");
        let same = PriceBatchView { same_as: Some(Uuid::nil()), ..batch(BatchState::Duplicate) };
        assert!(conclusion(&same, 10, Style::PLAIN).contains("same as:     00000000-"));
        let gone = PriceBatchView { withdrawn_by: Some("ann".into()), ..batch(BatchState::Withdrawn) };
        assert!(conclusion(&gone, 10, Style::PLAIN).contains("withdrawn by ann"));
    }

    #[test]
    fn batches_are_listed() {
        let dropped =
            PriceBatchView { name: None, key: Some("price-batches/acme/prices/a\x07.csv".into()), ..rejected() };
        let batches = [batch(BatchState::Published), dropped];
        insta::assert_snapshot!(list(&batches, Style::PLAIN), @r#"
        id                                    kind    state      rows  bad  received (utc)    name
        01990000-0000-7000-8000-000000000004  prices  published  1200  0    2026-11-20 10:00  Q4
        01990000-0000-7000-8000-000000000004  prices  rejected   1000  13   2026-11-20 10:00  price-batches/acme/prices/a\u{7}.csv
        "#);
        assert_eq!(list(&[], Style::PLAIN), "no batches\n");
    }

    #[test]
    fn averages_are_shown_and_a_day_without_one_has_none() {
        let rate = |day: &str, average_price| Rate { day: day.parse().unwrap(), average_price };
        let given = Rates {
            origin: "CNSGH".into(),
            destination: "north_europe_main".into(),
            rates: vec![rate("2026-01-01", Some(1112.5)), rate("2026-01-02", None), rate("2026-01-03", Some(9.0))],
        };
        insta::assert_snapshot!(rates(&given, Style::PLAIN), @r#"
        CNSGH to north_europe_main
        day         average
        2026-01-01  1112.50
        2026-01-02        -
        2026-01-03     9.00
        "#);
        insta::assert_snapshot!(rates_csv(&given), @r#"
        day,average_price
        2026-01-01,1112.50
        2026-01-02,
        2026-01-03,9.00
        "#);
    }
}
