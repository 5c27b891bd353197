//! One TOML file for both roles, environment variables over it; unknown keys are refused by name and line.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use figment::Figment;
use figment::error::Kind;
use figment::providers::{Env, Format, Toml};
use figment::value::Dict;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::de::{DeTable, DeValue};

/// Where the file is looked for if none is named.
const PLACES: [&str; 2] = ["overread.toml", "/etc/overread/overread.toml"];

/// How alike two keys must be for one to be offered in place of the other (Jaro-Winkler, 0 to 1).
const ALIKE: f64 = 0.8;

/// What the file may hold. Sections are parsed by the role that they are for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sections {
    #[serde(default)]
    edge: Dict,
    #[serde(default)]
    service: Dict,
    #[serde(default)]
    link: Dict,
}

/// A configuration that does not work: the process ends with status 78 and its supervisor does not start it again.
#[derive(Debug, thiserror::Error)]
#[error("{place}{key}: {problem}")]
pub struct Refused {
    /// File and line, or the variable, with a colon; empty where only the key is known.
    place: String,
    key: String,
    problem: String,
}

/// A configuration that was read, before a role takes its section.
pub struct Config {
    figment: Figment,
    name: String,
    text: String,
}

impl Config {
    /// Reads a file (`-` for standard input), or the first of the usual places, or nothing; then `OVERREAD_SECTION__KEY` variables over it.
    pub fn read(file: Option<&Path>) -> Result<Self> {
        let named =
            file.map(Path::to_owned).or_else(|| PLACES.iter().map(PathBuf::from).find(|p| p.is_file()));
        let (name, text) = match &named {
            None => (String::new(), String::new()),
            Some(path) if path == Path::new("-") => {
                let mut text = String::new();
                std::io::stdin()
                    .read_to_string(&mut text)
                    .context("reading the configuration from standard input")?;
                ("standard input".to_owned(), text)
            }
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("reading the configuration {}", path.display()))?;
                (path.display().to_string(), text)
            }
        };
        if let Err(e) = DeTable::parse(&text) {
            let line = e.span().map_or(1, |span| line_at(&text, span.start));
            let (place, key) = (format!("{name}:{line}: "), "no TOML".to_owned());
            return Err(Refused { place, key, problem: e.message().to_owned() }.into());
        }
        // Two underscores stand between section and key; names without them are the command line's own.
        let environment = Env::prefixed("OVERREAD_")
            .filter(|name| name.as_str().contains("__"))
            .split("__")
            .lowercase(true);
        let figment = Figment::new().merge(Toml::string(&text)).merge(environment);
        let config = Self { figment, name, text };
        let _: Sections = config.figment.extract().map_err(|e| config.said("", &e))?;
        Ok(config)
    }

    /// A role's section.
    pub fn section<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T> {
        if self.figment.find_value(name).is_err() {
            return Ok(T::default());
        }
        self.figment.focus(name).extract().map_err(|e| self.said(name, &e))
    }

    /// Sections as TOML, for a child that gets nothing else.
    pub fn only(&self, sections: &[&str]) -> Result<toml::Table> {
        let all: Sections = self.figment.extract().map_err(|e| self.said("", &e))?;
        let mut table = toml::Table::new();
        for (name, dict) in [("edge", all.edge), ("service", all.service), ("link", all.link)] {
            if sections.contains(&name) {
                table.insert(name.into(), toml::Value::try_from(&dict).context("writing a section")?);
            }
        }
        Ok(table)
    }

    /// A key that does not work, with the place where it stands.
    pub fn refuse(&self, key: &str, problem: &str) -> anyhow::Error {
        Refused { place: self.place(key), key: key.to_owned(), problem: problem.to_owned() }.into()
    }

    /// Where a key, or the section that it would belong to, stands: `overread.toml:12: `, or the variable that sets it; empty if nowhere.
    pub fn place(&self, key: &str) -> String {
        let variable = format!("OVERREAD_{}", key.replace('.', "__").to_uppercase());
        if std::env::var_os(&variable).is_some() {
            return format!("{variable}: ");
        }
        line_of(&self.text, key).map_or(String::new(), |line| format!("{}:{line}: ", self.name))
    }

    /// Figment's errors name key and source; values, which may be secrets, are not repeated.
    fn said(&self, section: &str, error: &figment::Error) -> anyhow::Error {
        let inner = error.path.iter().map(String::as_str);
        let mut path: Vec<&str> = Some(section).filter(|s| !s.is_empty()).into_iter().chain(inner).collect();
        let problem = match &error.kind {
            Kind::UnknownField(field, known) => {
                if path.last() != Some(&field.as_str()) {
                    path.push(field);
                }
                unknown(field, known)
            }
            Kind::MissingField(field) => format!("{field} is missing"),
            Kind::InvalidType(_, wanted) => format!("the value is of the wrong type; wanted is {wanted}"),
            Kind::InvalidValue(_, wanted) => format!("the value does not fit; wanted is {wanted}"),
            Kind::UnknownVariant(_, known) => format!("the value is none of {}", known.join(", ")),
            Kind::Message(text) => text.clone(),
            other => other.to_string(),
        };
        let key = if path.is_empty() { "the configuration".to_owned() } else { path.join(".") };
        self.refuse(&key, &problem)
    }
}

/// An unknown key: the one that was probably meant, and all there are.
fn unknown(field: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|key| (strsim::jaro_winkler(field, key), key))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let meant = near.map_or(String::new(), |(_, key)| format!("did you mean {key}? "));
    format!("there is no such key; {meant}There are: {}", known.join(", "))
}

/// The line, from 1, where a key stands, or else the nearest section above it. Keys are joined by points, places in arrays are `name[0]` or `name.0`.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let plain = key.replace('[', ".").replace(']', "");
    let mut found = None;
    let mut here: Option<&DeTable<'_>> = Some(table.get_ref());
    let mut list = None;
    for name in plain.split('.') {
        let (value, start) = match (here, list) {
            (Some(table), _) => {
                let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == name) else { break };
                (value, key.span().start)
            }
            (None, Some(items)) => {
                let items: &toml::de::DeArray<'_> = items;
                let Some(value) = name.parse::<usize>().ok().and_then(|n| items.get(n)) else { break };
                (value, value.span().start)
            }
            (None, None) => break,
        };
        found = Some(line_at(text, start));
        (here, list) = match value.get_ref() {
            DeValue::Table(table) => (Some(table), None),
            DeValue::Array(items) => (None, Some(items)),
            _ => (None, None),
        };
    }
    found
}

fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1
}

/// The configuration as it takes effect, all defaults written out and secrets masked.
pub fn effective(config: &Config) -> Result<String> {
    #[derive(Serialize)]
    struct All {
        edge: overread_edge::Config,
        service: overread_service::Config,
        link: overread_edge::LinkConfig,
    }
    let mut all = All {
        edge: config.section("edge")?,
        service: config.section("service")?,
        link: config.section("link")?,
    };
    for address in [&mut all.edge.database, &mut all.edge.vault.database, &mut all.service.database] {
        *address = masked(address);
    }
    toml::to_string_pretty(&all).context("writing the configuration")
}

/// An address without its password.
fn masked(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    match rest.split_once('@') {
        Some((who, host)) => {
            let user = who.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:***@{host}")
        }
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[edge]\ndata = \"x\"\n\n[edge.dimse]\nbind = \"127.0.0.1:1\"\n\n[[edge.program]]\nname = \"a\"\n\n[[edge.program]]\nname = \"b\"\n\
                        [edge.destination.pacs]\nkind = \"dimse\"\nport = 1\n";

    #[test]
    fn a_key_has_a_line() {
        assert_eq!(line_of(TEXT, "edge.data"), Some(2));
        assert_eq!(line_of(TEXT, "edge.dimse.bind"), Some(5));
        assert_eq!(line_of(TEXT, "edge.destination.pacs.port"), Some(14));
        // What is not there belongs below its section.
        assert_eq!(line_of(TEXT, "edge.destination.pacs.tls"), Some(12));
        assert_eq!(line_of(TEXT, "edge.program[1].name"), Some(11));
        assert_eq!(line_of(TEXT, "service.data"), None);
    }

    #[test]
    fn the_key_that_was_meant_is_offered() {
        assert!(unknown("ae_titel", &["bind", "ae_title"]).contains("did you mean ae_title?"));
        assert!(!unknown("zzz", &["bind", "ae_title"]).contains("did you mean"));
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(masked("postgres://u:secret@h:5432/d"), "postgres://u:***@h:5432/d");
        assert_eq!(masked("sqlite:///a/b.db"), "sqlite:///a/b.db");
    }
}
