//! One TOML file for both roles, environment variables over it; unknown keys are refused by name.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use figment::Figment;
use figment::providers::{Env, Format, Toml};
use figment::value::Dict;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Where the file is looked for if none is named.
const PLACES: [&str; 2] = ["overread.toml", "/etc/overread/overread.toml"];

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

/// A configuration that was read, before a role takes its section.
pub struct Config {
    figment: Figment,
}

impl Config {
    /// Reads a file (`-` for standard input), or the first of the usual places, or nothing; then `OVERREAD_SECTION__KEY` variables over it.
    pub fn read(file: Option<&Path>) -> Result<Self> {
        let named =
            file.map(Path::to_owned).or_else(|| PLACES.iter().map(PathBuf::from).find(|p| p.is_file()));
        let text = match &named {
            None => String::new(),
            Some(path) if path == Path::new("-") => {
                let mut text = String::new();
                std::io::stdin()
                    .read_to_string(&mut text)
                    .context("reading the configuration from standard input")?;
                text
            }
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| format!("reading the configuration {}", path.display()))?,
        };
        // Two underscores stand between section and key; names without them are the command line's own.
        let environment = Env::prefixed("OVERREAD_")
            .filter(|name| name.as_str().contains("__"))
            .split("__")
            .lowercase(true);
        let figment = Figment::new().merge(Toml::string(&text)).merge(environment);
        let _: Sections = figment.extract().map_err(said)?;
        Ok(Self { figment })
    }

    /// A role's section.
    pub fn section<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T> {
        if self.figment.find_value(name).is_err() {
            return Ok(T::default());
        }
        self.figment.extract_inner(name).map_err(said)
    }

    /// Sections as TOML, for a child that gets nothing else.
    pub fn only(&self, sections: &[&str]) -> Result<toml::Table> {
        let all: Sections = self.figment.extract().map_err(said)?;
        let mut table = toml::Table::new();
        for (name, dict) in [("edge", all.edge), ("service", all.service), ("link", all.link)] {
            if sections.contains(&name) {
                table.insert(name.into(), toml::Value::try_from(&dict).context("writing a section")?);
            }
        }
        Ok(table)
    }
}

/// Figment's errors name key and source; values, which may be secrets, are not repeated.
fn said(error: figment::Error) -> anyhow::Error {
    let path = error.path.join(".");
    let what = match &error.kind {
        figment::error::Kind::UnknownField(field, known) => {
            format!("unknown key {field}; known are {}", known.join(", "))
        }
        figment::error::Kind::MissingField(field) => format!("{field} is missing"),
        figment::error::Kind::InvalidType(_, wanted) => {
            format!("the value is of the wrong type; wanted is {wanted}")
        }
        figment::error::Kind::InvalidValue(_, wanted) => {
            format!("the value does not fit; wanted is {wanted}")
        }
        figment::error::Kind::UnknownVariant(_, known) => {
            format!("the value is none of {}", known.join(", "))
        }
        figment::error::Kind::Message(text) => text.clone(),
        other => other.to_string(),
    };
    let place = if path.is_empty() {
        "the configuration".to_owned()
    } else {
        format!("the configuration, at {path}")
    };
    anyhow::anyhow!("{place}: {what}")
}
