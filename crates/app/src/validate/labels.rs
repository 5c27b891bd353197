//! The label file: rows that count, what they say of findings, how they are joined and broken down.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use csv::StringRecord;
use overread_domain::ContentHash;
use sha2::{Digest, Sha256};

/// Values that a subgroup's column may have: more look like names or numbers of people.
const VALUES: usize = 40;
/// So many values say nothing of anybody, however few the cases are.
const FEW_VALUES: usize = 4;

/// The rows of a label file that count.
pub struct Labels {
    name: String,
    columns: Vec<String>,
    rows: Vec<StringRecord>,
    /// Index of the column `file`.
    file: usize,
    /// SHA-256 of the file.
    pub sha256: ContentHash,
}

/// Where the label of a finding stands.
pub struct Source {
    column: usize,
    /// The value that means positive; none: 1, and 0 is negative.
    positive: Option<String>,
}

impl Labels {
    /// Reads a label file and keeps the rows for which all `conditions` (COLUMN=VALUE) hold and, where there is a split, whose file is in its part.
    pub fn read(path: &Path, conditions: &[String], split: Option<(&Path, &str)>) -> Result<Self> {
        let mut labels = Self::open(path)?;
        if let Some((path, part)) = split {
            labels.keep_part(&Self::open(path)?, part)?;
        }
        for condition in conditions {
            let Some((column, value)) = condition.split_once('=') else {
                bail!("--where {condition}: it is COLUMN=VALUE, such as split=test");
            };
            let index = labels.column(column)?;
            labels.rows.retain(|row| row.get(index) == Some(value));
        }
        if labels.rows.is_empty() {
            bail!("{}: no row is left of it; look at --where, --split and --part", labels.name);
        }
        labels.refuse_duplicates()?;
        Ok(labels)
    }

    fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).with_context(|| format!("reading {name}"))?;
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text);
        let columns: Vec<String> =
            reader.headers().with_context(|| name.clone())?.iter().map(str::to_owned).collect();
        let rows = reader.records().collect::<Result<Vec<_>, _>>().with_context(|| name.clone())?;
        let sha256 = ContentHash::from_bytes(Sha256::digest(&bytes).into());
        let mut labels = Self { name, columns, rows, file: 0, sha256 };
        labels.file = labels.column("file")?;
        Ok(labels)
    }

    /// The index of a column.
    pub fn column(&self, name: &str) -> Result<usize> {
        self.columns.iter().position(|c| c == name).with_context(|| {
            format!("{} has no column {name}; it has {}", self.name, self.columns.join(", "))
        })
    }

    fn keep_part(&mut self, split: &Self, part: &str) -> Result<()> {
        let column = split.column("split")?;
        let in_part = split.rows.iter().filter(|row| row.get(column) == Some(part));
        let in_part: HashMap<&str, &StringRecord> = in_part.map(|r| (&r[split.file], r)).collect();
        self.rows.retain(|row| in_part.contains_key(&row[self.file]));
        // What the split alone knows, such as who is who, counts too; where both have a column, the split's is the cleaned one.
        let places: Vec<usize> = split
            .columns
            .iter()
            .map(|name| {
                self.columns.iter().position(|c| c == name).unwrap_or_else(|| {
                    self.columns.push(name.clone());
                    self.columns.len() - 1
                })
            })
            .collect();
        for row in &mut self.rows {
            let mut cells: Vec<&str> = row.iter().collect();
            cells.resize(self.columns.len(), "");
            let of_split = in_part[&row[self.file]];
            for (place, cell) in places.iter().zip(of_split) {
                cells[*place] = cell;
            }
            *row = StringRecord::from(cells);
        }
        Ok(())
    }

    fn refuse_duplicates(&self) -> Result<()> {
        let mut seen = HashSet::with_capacity(self.rows.len());
        for row in 0..self.len() {
            if !seen.insert(self.file(row)) {
                bail!("{} has two rows for {}; leave one", self.name, self.file(row));
            }
        }
        Ok(())
    }

    /// How many rows count.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The file of a row.
    pub fn file(&self, row: usize) -> &str {
        &self.rows[row][self.file]
    }

    /// Rows by file.
    pub fn by_file(&self) -> HashMap<&str, usize> {
        (0..self.len()).map(|row| (self.file(row), row)).collect()
    }

    /// Rows of each group, groups in the order in which they come.
    pub fn groups(&self, column: &str) -> Result<Vec<Vec<usize>>> {
        let index = self.column(column)?;
        let mut groups: Vec<Vec<usize>> = vec![];
        let mut known: HashMap<&str, usize> = HashMap::new();
        for (row, cells) in self.rows.iter().enumerate() {
            if cells[index].is_empty() {
                bail!(
                    "{}: the column {column} is empty for {}; each file belongs to a group",
                    self.name,
                    self.file(row)
                );
            }
            let group = *known.entry(&cells[index]).or_insert(groups.len());
            if group == groups.len() {
                groups.push(vec![]);
            }
            groups[group].push(row);
        }
        Ok(groups)
    }

    /// For each finding that has labels, its place among `findings` and where its label stands. `named` are `FINDING=COLUMN[:VALUE]`.
    pub fn sources(&self, findings: &[String], named: &[String]) -> Result<Vec<(usize, Source)>> {
        let mut sources = vec![];
        for text in named {
            let Some((finding, column)) = text.split_once('=') else {
                bail!("--finding {text}: it is FINDING=COLUMN or FINDING=COLUMN:VALUE");
            };
            let Some(index) = findings.iter().position(|f| f == finding) else {
                bail!("the pack has no finding {finding}; it has {}", findings.join(", "));
            };
            let (column, positive) = match column.split_once(':') {
                Some((column, value)) => (column, Some(value.to_owned())),
                None => (column, None),
            };
            let source = Source { column: self.column(column)?, positive };
            self.refuse_absent_value(&source)?;
            sources.push((index, source));
        }
        for (index, finding) in findings.iter().enumerate() {
            let column = self.columns.iter().position(|c| c == finding);
            if let Some(column) = column.filter(|_| sources.iter().all(|(i, _)| *i != index)) {
                sources.push((index, Source { column, positive: None }));
            }
        }
        if sources.is_empty() {
            bail!(
                "{} has no column for {}; it has {}. Say which column is meant: --finding {1}=COLUMN, or --finding {1}=COLUMN:VALUE",
                self.name,
                findings.join(" or "),
                self.columns.join(", "),
            );
        }
        sources.sort_by_key(|(index, _)| *index);
        Ok(sources)
    }

    fn refuse_absent_value(&self, source: &Source) -> Result<()> {
        let Some(value) = &source.positive else { return Ok(()) };
        if self.rows.iter().any(|row| &row[source.column] == value) {
            return Ok(());
        }
        let mut found: Vec<&str> = self.rows.iter().map(|r| &r[source.column]).collect();
        found.sort_unstable();
        found.dedup();
        found.truncate(12);
        bail!(
            "no row of {} has {value} in the column {}; there are {}",
            self.name,
            self.columns[source.column],
            found.join(", ")
        )
    }

    /// Whether a row is positive; none where its cell is empty.
    pub fn truth(&self, row: usize, source: &Source) -> Result<Option<bool>> {
        let cell = &self.rows[row][source.column];
        Ok(match (&source.positive, cell) {
            (_, "") => None,
            (Some(value), _) => Some(cell == value),
            (None, "1" | "1.0") => Some(true),
            (None, "0" | "0.0") => Some(false),
            (None, _) => bail!(
                "{}: the column {} says {cell} for {}; it is 0 or 1, or say which value means positive: --finding FINDING={1}:VALUE",
                self.name,
                self.columns[source.column],
                self.file(row)
            ),
        })
    }

    /// The values of a column for cases that are given by their rows, in the order in which they are shown, and each case's.
    pub fn broken_down(&self, name: &str, cases: &[Vec<usize>]) -> Result<(Vec<String>, Vec<usize>)> {
        let index = self.column(name)?;
        let ages = self.rows.iter().all(|r| r[index].is_empty() || r[index].parse::<f64>().is_ok());
        let ages = ages && name.to_ascii_lowercase().contains("age");
        let value = |row: &usize| match &self.rows[*row][index] {
            "" => "unknown".to_owned(),
            cell if ages => decade(cell.parse().unwrap_or(0.0)),
            cell => cell.to_owned(),
        };
        let of_case = |rows: &Vec<usize>| {
            let first = rows.first().map_or("unknown".into(), value);
            if rows.iter().all(|row| value(row) == first) { first } else { "several".into() }
        };
        let of_cases: Vec<String> = cases.iter().map(of_case).collect();
        let mut values: Vec<String> = of_cases.clone();
        values.sort_unstable();
        values.dedup();
        // Among few cases names and numbers of people are few too, but each stands for hardly more than one case.
        let tells_apart = values.len() > FEW_VALUES && values.len() * 2 > cases.len();
        if values.len() > VALUES || tells_apart {
            bail!(
                "{}: the column {name} has {} values for {} cases; a subgroup's has at most {VALUES}, and at most one for two cases. A column that tells people apart \
                 does not belong into a record",
                self.name,
                values.len(),
                cases.len()
            );
        }
        let place: HashMap<&str, usize> = values.iter().enumerate().map(|(i, v)| (v.as_str(), i)).collect();
        let placed = of_cases.iter().map(|v| place[v.as_str()]).collect();
        Ok((values, placed))
    }
}

/// The decade of an age in years; those over 89 stay together, since so few people are.
fn decade(years: f64) -> String {
    let from = (years.max(0.0) / 10.0).floor() as u32 * 10;
    if from >= 90 { "90+".into() } else { format!("{from:02}–{:02}", from + 9) }
}
