//! What people read in the terminal. The one place that prints.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the command line's output")]

use std::io::{ErrorKind, IsTerminal, Write};

use anyhow::Result;
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use overread_domain::{Decision, sided};
use overread_read::StudyResult;
use overread_read::considered::Considered;
use overread_read::result::{FindingRecord, ProgramResult, Status};
use serde_json::Value;

/// Prints a text and a line end.
pub fn print(text: &str) -> Result<()> {
    write_out(text.as_bytes())
}

/// Prints a JSON value over several lines.
pub fn print_json(value: &Value) -> Result<()> {
    write_out(serde_json::to_string_pretty(value)?.as_bytes())
}

/// Prints a JSON value in one line.
pub fn print_line(value: &Value) -> Result<()> {
    write_out(serde_json::to_string(value)?.as_bytes())
}

fn write_out(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.write_all(b"\n")) {
        // `overread … | head` is no error.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Tells what went wrong, on standard error.
pub fn complain(error: &anyhow::Error) {
    eprintln!("overread: {error:#}");
}

/// Tells something beside the results, on standard error.
pub fn remark(text: &str) {
    eprintln!("{text}");
}

/// Rows of JSON objects as a table of the named members. Moments (`…_at`, `at`) are shown in local time.
pub fn columns(names: &[&str], rows: &[Value]) -> String {
    let mut table = plain();
    table.set_header(names.iter().copied());
    for row in rows {
        table.add_row(names.iter().map(|name| cell(name, &row[*name])));
    }
    table.to_string()
}

/// The members of a JSON object, one a line; lists of counts are spelt out.
pub fn pairs(object: &Value) -> String {
    let mut table = plain();
    table.load_preset(presets::NOTHING);
    for (name, value) in object.as_object().into_iter().flatten() {
        let text = match value.as_array() {
            Some(items) => items.iter().map(count).collect::<Vec<_>>().join(", "),
            None => cell(name, value),
        };
        table.add_row([name.clone(), text]);
    }
    table.to_string()
}

/// Names and values, one pair a line.
pub fn named_rows(rows: &[(String, String)]) -> String {
    let mut table = plain();
    table.load_preset(presets::NOTHING);
    for (name, value) in rows {
        table.add_row([name, value]);
    }
    table.to_string()
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

fn cell(name: &str, value: &Value) -> String {
    if (name == "at" || name.ends_with("_at"))
        && let Some(moment) = value.as_i64().and_then(chrono::DateTime::from_timestamp_millis)
    {
        return moment.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M:%S").to_string();
    }
    match value {
        Value::Null => "–".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(|i| cell(name, i)).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// `{"name" or "state": …, "count": …}` in words.
fn count(item: &Value) -> String {
    let name = item["name"].as_str().or(item["state"].as_str()).unwrap_or_default();
    format!("{name} {}", item["count"])
}

/// The table of results.
pub struct Results {
    table: Table,
    /// Reasons, in full, below the table.
    notes: Vec<String>,
    colour: bool,
}

impl Results {
    /// An empty table.
    pub fn new() -> Self {
        let mut table = plain();
        table.set_header(["study", "program", "finding", "probability", "decision"]);
        Self { table, notes: vec![], colour: std::io::stdout().is_terminal() }
    }

    /// Adds a study's rows.
    pub fn add(&mut self, result: &StudyResult) {
        let source = result.source.display().to_string();
        if let Some(reason) = &result.reason {
            self.notes.push(format!("{source}: {}", reason.message));
        }
        for warning in &result.warnings {
            self.notes.push(format!("{source}: {warning}"));
        }
        if result.results.is_empty() {
            let word = if result.status == Status::Failed { "failed" } else { "not assessed" };
            self.row(&source, "", "", "", word, Some(Color::Red));
            self.explain(&source, &result.considered);
        }
        for program in &result.results {
            self.add_program(&source, program);
        }
    }

    /// Why no program read a study: those that came near, and how many others there were.
    fn explain(&mut self, source: &str, considered: &[Considered]) {
        let far = |c: &&Considered| c.code.as_deref() == Some("modality");
        let (others, near): (Vec<_>, Vec<_>) = considered.iter().filter(|c| !c.taken).partition(far);
        self.notes.extend(near.into_iter().map(|c| format!("{source}: not {}: {}", c.program, c.why)));
        if !others.is_empty() {
            self.notes.push(format!("{source}: {} programs read other modalities", others.len()));
        }
    }

    fn add_program(&mut self, source: &str, program: &ProgramResult) {
        if program.status == Status::NotAssessed {
            return self.row(source, &program.program, "", "–", "not assessed", Some(Color::Red));
        }
        for f in &program.findings {
            let colour = match f.decision {
                Decision::Present => Some(Color::Red),
                Decision::Absent => Some(Color::Green),
                Decision::Indeterminate => Some(Color::Yellow),
                Decision::NotAssessed => None,
            };
            self.row(
                source,
                &program.program,
                &sided(&f.label, f.laterality),
                &number(f),
                &f.decision.to_string(),
                colour,
            );
        }
        let mut of_side: Vec<String> = vec![];
        for f in &program.findings {
            let side = f.laterality.map_or("side not stated".into(), |side| side.to_string());
            let note = f.reason.as_ref().map(|r| format!("{source}: {side}: {}", r.message));
            of_side.extend(note.filter(|note| !of_side.contains(note)));
        }
        self.notes.extend(of_side);
        for caveat in &program.caveats {
            let note = format!("{}: {caveat}", program.program);
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }

    fn row(
        &mut self,
        study: &str,
        program: &str,
        finding: &str,
        number: &str,
        decision: &str,
        colour: Option<Color>,
    ) {
        let decision = match colour {
            Some(colour) if self.colour => Cell::new(decision).fg(colour),
            _ => Cell::new(decision),
        };
        let cells = [study, program, finding, number].map(Cell::new).into_iter().chain([decision]);
        self.table.add_row(cells.collect::<Vec<_>>());
    }

    /// Prints the table and what there is to say to it.
    pub fn print(&self) -> Result<()> {
        print(&self.table.to_string())?;
        self.notes.iter().try_for_each(|note| print(note))
    }
}

fn number(f: &FindingRecord) -> String {
    match (f.probability, f.score) {
        (Some(p), _) => {
            let at = f.prevalence.map_or(String::new(), |p| format!(" at prevalence {:.0}%", p * 100.0));
            format!("{:.1}%{at}", p * 100.0)
        }
        (None, Some(score)) => format!("score {score:.2}"),
        (None, None) => "–".into(),
    }
}
